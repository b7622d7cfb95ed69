"""Hashes of files and of their pieces, against hashlib over the bytes that were written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from omnilmm_lite.bundle.integrity import hashes
from omnilmm_lite.bundle.integrity.file_entry import FileEntry
from omnilmm_lite.bundle.integrity.hashes import hash_file, is_whole, num_pieces, sha256


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 21, 39, 40])
def test_pieces_are_the_files_bytes_in_their_order(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PIECE_BYTES", 10), ("BLOCK_BYTES", 5)):
        monkeypatch.setattr(hashes, name, value)
    monkeypatch.setattr("omnilmm_lite.bundle.integrity.file_entry.PIECE_BYTES", 10)
    data = bytes(range(size))
    path = tmp_path / "file"
    path.write_bytes(data)
    found = hash_file(path)
    parts = [data[start : start + 10] for start in range(0, size, 10)]
    assert found.sha256 == sha256(path) == hashlib.sha256(data).hexdigest()
    assert found.pieces == (tuple(hashlib.sha256(part).hexdigest() for part in parts) if len(parts) > 1 else ())
    assert len(found.pieces) == num_pieces(size)
    pieces = FileEntry("file", size, found.sha256, found.pieces).pieces
    assert [(each.start, each.length) for each in pieces] == [
        (start * 10, len(part)) for start, part in enumerate(parts or [b""])
    ]
    assert all(is_whole(path, piece) for piece in pieces)
    for place in range(size):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert [is_whole(path, piece) for piece in pieces] == [number != place // 10 for number in range(len(pieces))]
