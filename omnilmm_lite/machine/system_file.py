"""The small text files by which Linux tells what there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path("/")  # everything is read below it, so that another machine's files can be


def read_text(path: Path) -> str:
    """The file's text without white space around it; empty where there is no such file, or it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (OSError, ValueError):  # not Linux, no right to look; a path with a zero character
        return ""


def read_count(path: Path) -> int | None:
    """The number that is all of the file; None for anything else, such as `max` or -1."""
    return parse_count(read_text(path))


def parse_count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None
