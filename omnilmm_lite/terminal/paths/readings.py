"""What a text may mean as a path: typed, quoted, dropped on the terminal, copied from a browser or from Windows."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

LONGEST = 4096  # characters; what is longer is text
WINDOWS_DRIVES = Path("/mnt")  # where Windows' drives are in its Linux subsystem
# What opens a quotation, and what may close it, on the keyboards of several languages and in Markdown.
QUOTES = {
    "'": "'", '"': '"', "`": "`", "“": "”", "‘": "’", "„": "“”", "‚": "‘’", "«": "»", "»": "«", "‹": "›", "›": "‹",  # noqa: RUF001
    "「": "」", "『": "』",
}  # fmt: skip

_DRIVE = re.compile(r"/?([A-Za-z]):[\\/](.*)", re.DOTALL)
_POSIX_DRIVE = re.compile(r"/(?:cygdrive/)?([A-Za-z])/(.*)", re.DOTALL)  # what Git's and Cygwin's terminals drop
_SUBSYSTEM = re.compile(r"[\\/]{2}(?:wsl\$|wsl\.localhost)[\\/][^\\/]+([\\/].*)", re.DOTALL | re.IGNORECASE)


def named_file(text: str) -> Path | None:
    """The file that `text` names, of whatever kind."""
    for reading in dict.fromkeys([*readings(text), *readings(text.strip())]):  # a name may end in a space
        with contextlib.suppress(RuntimeError, ValueError):  # `~` of nobody, or before a zero byte
            path = Path(reading).expanduser()
            if is_file(path):
                return path
    return None


def is_file(path: str | Path) -> bool:
    """Whether that very path leads to a file."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, a zero byte
        return False


def readings(text: str, *, windows: bool = sys.platform == "win32") -> Iterator[str]:
    """What `text` may mean as a path, the most literal first. `windows`: the system that is to find it."""
    if not text or len(text) > LONGEST or "\n" in text:
        return
    literal = [text, *_unquoted(text), *_as_shell_words(text)]
    for reading in literal:
        yield reading
        yield from _of_the_other_system(reading, windows)
    for reading in literal:
        for decoded in _as_address(reading, windows):
            yield decoded
            yield from _of_the_other_system(decoded, windows)


def unquoted(text: str) -> str:
    """`text` without the quotes around it or, where a shell would see one word, without its escapes. A path of Windows
    keeps its backslashes."""
    inner = next(_unquoted(text), text)
    if _DRIVE.match(inner) or inner.startswith("\\\\"):
        return inner
    words = _as_shell_words(text)
    return words[0] if words else inner


def _unquoted(text: str) -> Iterator[str]:
    if len(text) > 2 and text[-1] in QUOTES.get(text[0], ""):
        yield text[1:-1]
        yield text[1:-1].strip()  # « as French has it »


def _as_shell_words(text: str) -> list[str]:
    """One word, freed from quotes and backslashes; nothing where a shell would see more."""
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that isn't closed
        return []
    return words if len(words) == 1 else []


def _as_address(text: str, windows: bool) -> Iterator[str]:
    """`file://` and %20. A `#` or `?` belongs to the name: terminals don't encode them."""
    if text.lower().startswith("file:"):
        host, path = "", text[len("file:") :]
        if path.startswith("//"):
            host, slash, path = path.removeprefix("//").partition("/")
            path = slash + path
        if host not in ("", "localhost"):
            if windows:  # a share of another machine
                yield os.fsdecode(unquote_to_bytes(f"//{host}{path}")).replace("/", "\\")
            return
        yield path
        text = path
    if "%" in text:
        yield os.fsdecode(unquote_to_bytes(text))


def _of_the_other_system(text: str, windows: bool) -> Iterator[str]:
    r"""`/C:/a` of an address without its slash; C:\a as Windows' Linux subsystem mounts it; that subsystem's files as
    Windows names them; and C:\a as Unix programs on Windows name it."""
    if drive := _DRIVE.fullmatch(text):
        letter, rest = drive.groups()
        yield text.removeprefix("/")
        yield str(WINDOWS_DRIVES / letter.lower() / rest.replace("\\", "/"))
    elif windows and (drive := _POSIX_DRIVE.fullmatch(text)):
        letter, rest = drive.groups()
        yield f"{letter.upper()}:\\" + rest.replace("/", "\\")
    elif not windows and (inside := _SUBSYSTEM.fullmatch(text)):
        yield inside[1].replace("\\", "/")
