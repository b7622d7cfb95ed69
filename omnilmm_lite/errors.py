"""The errors a caller can meet, split by whose move it is."""

from __future__ import annotations

LONGEST = 300  # characters of an error's line
TAIL = 120  # of them, at the end: what to do stands there
SHORT_PLACE = 60  # so much at least is kept of where it happened
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
    """`text` as a line that a terminal can show: escaped, and where it is longer than LONGEST without the middle of the
    path that it begins with or, where that isn't enough, without its own."""
    if len(text) > 2 * LONGEST:
        text = f"{text[:LONGEST]}{text[-LONGEST:]}"  # what may be shown of megabytes is made ready, no more
    line = escaped(text)
    if len(line) <= LONGEST:
        return line
    place, colon, rest = line.partition(": ")
    room = max(LONGEST - len(GAP) - len(colon + rest), SHORT_PLACE)
    if colon and len(place) > room + len(GAP):  # its end says more than its beginning
        line = f"{place[: room // 3]}{GAP}{place[-(room - room // 3) :]}{colon}{rest}"
    return line if len(line) <= LONGEST else _without_middle(line)


def _without_middle(line: str) -> str:
    tail = TAIL
    if line[-tail:].count("`") % 2 and (begin := line.rfind("`", 0, len(line) - tail)) >= 0:
        # a command that is cut can't be entered; one that is longer yet can't be shown
        tail = len(line) - begin if len(line) - begin <= LONGEST - len(GAP) - SHORT_PLACE else tail
    return line[: LONGEST - tail - len(GAP)] + GAP + line[-tail:]


def escaped(text: str) -> str:
    r"""`text` with Python's escapes (`\n`, `\x1b`, `\udcff`) for every character that can't be shown."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
