"""Files that a later run goes on with: each has its checksum beside it, so that a damaged one is never gone on with.

File and checksum can't change in one step. So the checksum comes first, and while a file is replaced there are two: of
what it will hold and of what it holds. A run that is killed between the two steps leaves the file as it was, sound.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from omnilmm_lite.files.durable_file import write_text

ENDING = ".sha256"


def checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


def write_checksum(path: Path, content: Path) -> None:
    """Notes down the checksum of what `path` will hold and `content` holds, beside that of what `path` holds now, if it
    is there and sound. Before `path` has its name: a file without a checksum is then always one of an older version."""
    new, before = _digest(content), _noted_digest(path)
    digests = dict.fromkeys((new,) if before is None else (new, before))
    write_text(checksum_path(path), "".join(f"{digest}\n" for digest in digests))


def is_sound(path: Path) -> bool:
    """Whether the file is there and holds what its checksum says, or one of its two; False where either is missing."""
    return _noted_digest(path) is not None


def is_usable(path: Path) -> bool:
    """Whether the file is there and sound, as far as it can be known: older versions wrote no checksums."""
    return is_sound(path) if checksum_path(path).is_file() else path.is_file()


def remove_checked(path: Path) -> None:
    """Removes the file and its checksum, where they are there."""
    path.unlink(missing_ok=True)
    checksum_path(path).unlink(missing_ok=True)


def _noted_digest(path: Path) -> str | None:
    """The file's digest, where it is one that its checksum says; None for anything else."""
    try:
        noted = checksum_path(path).read_text(encoding="utf-8").split()
        digest = _digest(path)
    except (OSError, UnicodeDecodeError):
        return None
    return digest if digest in noted else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
