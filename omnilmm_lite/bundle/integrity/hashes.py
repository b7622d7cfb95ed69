"""SHA-256 of files, whole and in pieces: a check that is cut short has then found something out all the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.files.regular_file import open_regular

SMALL_BYTES = 4 << 20  # files up to this size are hashed at each opening
PIECE_BYTES = 64 << 20  # a part of the manifest's schema: all but a file's last piece have it
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileHashes:
    """In hex: of the whole file, and of its pieces if it has several."""

    sha256: str
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """Bytes of a file and their hash."""

    start: int
    length: int
    sha256: str


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex. OSError where it can't be read, InputError where it is no file."""
    return _digest(path, 0, None)


def hash_file(path: Path) -> FileHashes:
    """Reads the file once. Errors as of `sha256`."""
    whole, pieces, piece, left = hashlib.sha256(), [], hashlib.sha256(), PIECE_BYTES
    for block in _blocks(path, 0, None):
        if not left:
            pieces.append(piece.hexdigest())
            piece, left = hashlib.sha256(), PIECE_BYTES
        whole.update(block)
        piece.update(block)
        left -= len(block)
    pieces.append(piece.hexdigest())
    return FileHashes(whole.hexdigest(), tuple(pieces) if len(pieces) > 1 else ())


def num_pieces(size: int) -> int:
    """How many pieces the manifest has hashes of for a file of `size` bytes; 0 where it is one piece."""
    return -(-size // PIECE_BYTES) if size > PIECE_BYTES else 0


def is_whole(path: Path, piece: Piece) -> bool:
    """Whether a file holds these bytes. Errors as of `sha256`."""
    return _digest(path, piece.start, piece.length) == piece.sha256


def _digest(path: Path, start: int, length: int | None) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path, start, length):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, start: int, length: int | None) -> Iterator[bytes]:
    """`length` bytes, or all there are, in blocks that fill pieces evenly."""
    with open_regular(path) as file:
        file.seek(start)
        while block := file.read(BLOCK_BYTES if length is None else min(BLOCK_BYTES, length)):
            yield block
            if length is not None:
                length -= len(block)
