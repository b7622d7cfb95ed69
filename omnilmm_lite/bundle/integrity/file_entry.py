"""What a bundle's manifest says of a file."""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.bundle.integrity.hashes import PIECE_BYTES, Piece


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: its path relative to the folder, its size in bytes, its SHA-256 in hex; `hashes`: those of
    its pieces, if it has several. Older bundles have none."""

    path: str
    size: int
    sha256: str
    hashes: tuple[str, ...] = ()

    @property
    def pieces(self) -> list[Piece]:
        """All of its bytes, in their order."""
        if not self.hashes:
            return [Piece(0, self.size, self.sha256)]
        starts = range(0, self.size, PIECE_BYTES)
        return [
            Piece(start, min(PIECE_BYTES, self.size - start), digest)
            for start, digest in zip(starts, self.hashes, strict=True)
        ]
