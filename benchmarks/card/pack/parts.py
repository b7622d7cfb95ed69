"""A folder as parts of limited size, with their checksums."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

SUMS = "SHA256SUMS"
MIB = 1 << 20
# x86-64's jumps are turned into places before they are compressed: most of what travels is machine code.
FILTERS = [
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 64 * MIB},
]


def write_parts(folder: Path, out: Path, limit: int) -> list[Path]:
    """`folder`'s content as part-00, part-01, ... of `limit` bytes at most, one tar.xz together, and SHA256SUMS."""
    for old in out.glob("part-*"):
        old.unlink()
    whole = out / "all.tar.xz"
    with lzma.open(whole, "wb", filters=FILTERS) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    parts, sums = [], []
    with whole.open("rb") as stream:
        for number, piece in enumerate(iter(lambda: stream.read(limit), b"")):
            path = out / f"part-{number:02}"
            path.write_bytes(piece)
            parts.append(path)
            sums.append(f"{hashlib.sha256(piece).hexdigest()}  {path.name}\n")
    whole.unlink()
    (out / SUMS).write_text("".join(sums), encoding="ascii")
    return parts


def read_sums(out: Path) -> Iterator[tuple[str, str]]:
    """Each part's name and SHA-256 in hex."""
    for line in (out / SUMS).read_text(encoding="ascii").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest
