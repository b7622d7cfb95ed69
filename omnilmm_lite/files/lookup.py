"""Files by names that somebody else chose."""

from __future__ import annotations

from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether there is such a file; False, too, where none can have that name or nobody may look."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, a zero byte in it; no right
        return False
