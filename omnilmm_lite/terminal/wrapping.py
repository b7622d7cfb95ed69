"""Lines that break between words, at whatever width the terminal has just now.

A word is kept back until its end is known, so that nothing shown has to be taken back, and no escape code is needed.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from typing import TextIO

from rich.cells import cell_len

TAB = 8  # columns
TIES = "\u00a0\u202f"  # spaces that hold words together
# No line begins with these, and none ends with those: https://www.w3.org/TR/clreq/#prohibition_rules_for_line_start_end
_CLOSING = "，。、；：？！）」』】》〉”’…—～・"  # noqa: RUF001
_OPENING = "（「『【《〈“‘"  # noqa: RUF001


class WordWrap:
    """Text in pieces of any length, with line feeds where lines would get too long."""

    def __init__(self, width: Callable[[], int | None]) -> None:
        """`width`: the columns that may be used just now; None breaks nothing, and keeps nothing back."""
        self._width = width
        self._column = 0
        self._spaces, self._word = "", ""  # kept back
        self._is_long = False  # the word that is shown is longer than a line: the terminal breaks it

    def add(self, piece: str) -> str:
        """What may be shown now."""
        width = self._width()
        if width is None:
            return self.rest() + piece
        return "".join(self._letter(letter, width) for letter in piece)

    def rest(self) -> str:
        """What was kept back, when no more comes for a while."""
        return self._flushed(self._width())

    def room_for(self, columns: int) -> str:
        """A line feed where that many columns more don't fit in this line."""
        width = self._width()
        if width is None or self._column == 0 or self._column + columns <= width:
            return ""
        self._column = 0
        return "\n"

    def _letter(self, letter: str, width: int) -> str:
        if letter == "\n":
            shown = self._flushed(width) if self._word else ""
            self._column, self._spaces, self._is_long = 0, "", False
            return shown + letter
        if letter.isspace() and letter not in TIES:
            shown = self._flushed(width) if self._word else ""
            column = self._column + len(self._spaces)
            self._spaces += " " * (TAB - column % TAB) if letter == "\t" else letter
            self._is_long = False
            return shown
        shown = ""
        if self._word and _may_break(self._word[-1], letter):
            shown, self._is_long = self._flushed(width), False
        self._word += letter
        if self._is_long or cell_len(self._word) > width:
            shown += self._flushed(width)
            self._is_long = True
        return shown

    def _flushed(self, width: int | None) -> str:
        spaces, word = self._spaces, self._word
        self._spaces = self._word = ""
        begin, cells = "", cell_len(word)
        if width is not None and self._column + len(spaces) + cells > width and not self._is_long:
            if self._column:
                begin, spaces, self._column = "\n", "", 0
            else:
                spaces = spaces[: max(width - cells, 0)]  # an indentation that leaves no room
        column = self._column + len(spaces) + cells
        self._column = column if width is None or column <= width else (column - 1) % (width + 1) + 1
        return begin + spaces + word


def wrapped(text: str, width: int | None) -> str:
    """A whole text likewise."""
    wrap = WordWrap(lambda: width)
    return wrap.add(text) + wrap.rest()


def width_of(stream: TextIO | None) -> int | None:
    """Columns of the terminal that the stream is, less one, in which the cursor stands; None where it is none."""
    try:
        if stream is None or not stream.isatty():
            return None
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # closed, or no file at all
        return None
    return columns - 1 if columns > 1 else None


def _may_break(before: str, after: str) -> bool:
    """Between two letters without a space: beside letters of scripts that put none."""
    if not (_is_ideographic(before) or _is_ideographic(after)):
        return False
    return after not in _CLOSING and before not in _OPENING and not unicodedata.combining(after)


def _is_ideographic(letter: str) -> bool:
    """Wide, and no symbol: several of those may be one picture."""
    return unicodedata.east_asian_width(letter) in "WF" and not unicodedata.category(letter).startswith("S")
