"""Files that a later run goes on with: each has its checksum beside it, so that a damaged one is never gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from omnilmm_lite.files.durable_file import write_text

ENDING = ".sha256"


def checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


def write_checksum(path: Path, content: Path) -> None:
    """Notes down the checksum of what `path` will hold and `content` holds. Before `path` has its name: a file without
    a checksum is then always one of an older version."""
    write_text(checksum_path(path), _digest(content) + "\n")


def is_sound(path: Path) -> bool:
    """Whether the file is there and holds what its checksum says; False where either is missing."""
    try:
        return checksum_path(path).read_text(encoding="utf-8").strip() == _digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def is_usable(path: Path) -> bool:
    """Whether the file is there and sound, as far as it can be known: older versions wrote no checksums."""
    return is_sound(path) if checksum_path(path).is_file() else path.is_file()


def remove_checked(path: Path) -> None:
    """Removes the file and its checksum, where they are there."""
    path.unlink(missing_ok=True)
    checksum_path(path).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
