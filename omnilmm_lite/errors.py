"""The errors a caller can meet, split by whose move it is."""

from __future__ import annotations

LONGEST = 300  # characters of an error's line
TAIL = 120  # of them, at the end: what to do stands there
GAP = " ... "


class OmniLMMError(Exception):
    """Base of everything this project raises on purpose; its text is one clear line. Exit code 1.

    Whatever a file, a request or an argument has put into the text: see `one_line`.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(one_line(text))


class InputError(OmniLMMError):
    """The caller's input can't be used: it says what, where, what was found and what to do. Exit code 2."""


class ContextFullError(InputError):
    """The prompt and the answer asked for don't fit the decoder's context."""


def one_line(text: str) -> str:
    """`text` as a line that a terminal can show: escaped, and where it is longer than LONGEST without its middle."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}{text[-LONGEST:]}"  # what may be shown of megabytes is made ready, no more
    line = escaped(text)
    return line if len(line) <= LONGEST else line[: LONGEST - TAIL - len(GAP)] + GAP + line[-TAIL:]


def escaped(text: str) -> str:
    r"""`text` with Python's escapes (`\n`, `\x1b`, `\udcff`) for every character that can't be shown."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
