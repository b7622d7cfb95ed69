"""What the chat shows: answers on stdout, everything else on stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from rich.console import Console

from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.terminal.preview import HALF_BLOCK, preview
from omnilmm_lite.terminal.waiting_line import is_dumb
from omnilmm_lite.terminal.wrapping import WordWrap, width_of, wrapped

# Control characters but tab and line feed: an answer, or a file's name, must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

NARROWEST = 16  # columns for text beside names; where there are less, it stands below them
INDENT = 4


def shown(text: str) -> str:
    """`text` without what a terminal would obey."""
    return _CONTROL.sub("", text)


def wants_plain() -> bool:
    """Whether there is no terminal on both ends, or one that understands no escape codes."""
    ends = (sys.stdin, sys.stdout)
    return is_dumb() or any(end is None or not end.isatty() for end in ends)


class AnswerText:
    """An answer on standard output, as it comes. On a terminal its lines end between words, and it steers nothing."""

    def __init__(self) -> None:
        self._wrap = WordWrap(lambda: width_of(sys.stdout))

    def add(self, piece: str) -> None:
        print(self._wrap.add(shown(piece) if sys.stdout.isatty() else piece), end="", flush=True)

    def end(self, more: int = 0) -> None:
        """Shows the rest; `more` columns will follow in the same line, if there is room. Another answer may begin."""
        print(self._wrap.rest() + self._wrap.room_for(more), end="", flush=True)
        self._wrap = WordWrap(lambda: width_of(sys.stdout))


class Screen:
    """`plain`: line by line, without a single escape code."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self._out = self._console(stderr=False)
        self._err = self._console(stderr=True)
        self._answer = AnswerText()

    def _console(self, *, stderr: bool) -> Console:
        return Console(
            stderr=stderr, color_system=None if self.plain else "auto", highlight=False, markup=False, emoji=False
        )

    def note(self, text: str) -> None:
        """Shows a line about what happened."""
        self._err.print(wrapped(shown(text), width_of(sys.stderr)), style="dim", soft_wrap=True)

    def complain(self, error: object) -> None:
        """Shows a line about what could not be done."""
        self._err.print(wrapped(shown(str(error)), width_of(sys.stderr)), style="yellow", soft_wrap=True)

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Shows names and what they stand for: in two columns, or one below the other where there is no room."""
        rows = list(rows)
        columns = None if self.plain else width_of(sys.stderr)
        indent = max(len(name) for name, _ in rows) + 2
        is_narrow = columns is not None and columns - indent < NARROWEST
        if is_narrow and columns is not None:
            indent = INDENT if columns > 2 * INDENT else 0
        for name, value in rows:
            lines = wrapped(shown(value), None if columns is None else columns - indent)
            self._err.print(shown(name if is_narrow else f"{name:<{indent}}"), style="cyan", end="")
            between = "\n" + " " * indent
            self._err.print((between if is_narrow else "") + lines.replace("\n", between), soft_wrap=True)

    def piece(self, text: str) -> None:
        """Shows the next part of an answer, but for the word that isn't at its end yet."""
        self._answer.add(shown(text))

    def end_of_answer(self, remark: str = "") -> None:
        """`remark`: how it ended, if that needs saying."""
        self._answer.end(len(remark) + 3 if remark else 0)
        if remark:
            self._err.print(f" [{remark}]", style="dim", end="", soft_wrap=True)
        print("" if self.plain else "\n", flush=True)

    def picture(self, image: PreparedImage) -> None:
        """Shows the picture small, where the terminal has colours enough."""
        if self._out.color_system in ("256", "truecolor") and not self._out.no_color and self._can_print(HALF_BLOCK):
            self._out.print(preview(image, self._out.width), end="")

    def _can_print(self, text: str) -> bool:
        try:
            text.encode(self._out.encoding)
        except UnicodeEncodeError:
            return False
        return True
