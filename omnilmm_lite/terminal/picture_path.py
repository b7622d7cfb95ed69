"""Paths as people give them: typed, quoted, dropped on the terminal, copied from a browser or from Windows."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

from omnilmm_lite.picture.reading import PICTURE_SUFFIXES

LONGEST = 4096  # characters; what is longer is text
WINDOWS_DRIVES = Path("/mnt")  # where Windows' drives are in its Linux subsystem

_DRIVE = re.compile(r"/?([A-Za-z]):[\\/](.*)", re.DOTALL)


def pasted_picture(line: str) -> Path | None:
    """The picture file that the whole line names; None for any other line, also where there is no such file."""
    return next((path for path in _files(line) if path.suffix.lower() in PICTURE_SUFFIXES), None)


def named_file(text: str) -> Path | None:
    """The file that `text` names, of whatever kind."""
    return next(_files(text), None)


def _files(text: str) -> Iterator[Path]:
    for reading in _readings(text.strip()):
        try:
            path = Path(reading).expanduser()
            found = path.is_file()
        except (OSError, ValueError, RuntimeError):  # too long, a zero byte, `~` of a user that doesn't exist
            continue
        if found:
            yield path


def _readings(text: str) -> Iterator[str]:
    """What `text` may mean as a path, the most literal first."""
    if not text or len(text) > LONGEST or "\n" in text:
        return
    words = _as_shell_words(text)
    literal = [text, *([text[1:-1]] if text[0] == text[-1] and text[0] in "\"'" else []), *words]
    for reading in literal:
        yield reading
        yield from _as_windows_path(reading)
    for reading in literal:
        for decoded in _as_address(reading):
            yield decoded
            yield from _as_windows_path(decoded)


def _as_shell_words(text: str) -> list[str]:
    """One word, freed from quotes and backslashes; nothing where a shell would see more."""
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that isn't closed
        return []
    return words if len(words) == 1 else []


def _as_address(text: str) -> Iterator[str]:
    """`file://` and %20. A `#` or `?` belongs to the name: terminals don't encode them."""
    if text.lower().startswith("file://"):
        host, slash, path = text[len("file://") :].partition("/")
        if host not in ("", "localhost"):
            return
        yield slash + path
        text = slash + path
    if "%" in text:
        yield os.fsdecode(unquote_to_bytes(text))


def _as_windows_path(text: str) -> Iterator[str]:
    r"""`/C:/a` of an address without its slash, and C:\a as Windows' Linux subsystem mounts it."""
    if drive := _DRIVE.fullmatch(text):
        letter, rest = drive.groups()
        yield text.removeprefix("/")
        yield str(WINDOWS_DRIVES / letter.lower() / rest.replace("\\", "/"))
