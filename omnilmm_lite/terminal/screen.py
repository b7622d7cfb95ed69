"""What the chat shows: answers on stdout, everything else on stderr."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable

from rich.console import Console

from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.terminal.preview import HALF_BLOCK, preview
from omnilmm_lite.terminal.waiting_line import is_dumb

# Control characters but tab and line feed: an answer, or a file's name, must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

NARROWEST = 24  # columns for text beside names; below it, lines break where the terminal ends


def shown(text: str) -> str:
    """`text` without what a terminal would obey."""
    return _CONTROL.sub("", text)


def wants_plain() -> bool:
    """Whether there is no terminal on both ends, or one that understands no escape codes."""
    ends = (sys.stdin, sys.stdout)
    return is_dumb() or any(end is None or not end.isatty() for end in ends)


class Screen:
    """`plain`: line by line, without a single escape code."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self._out = self._console(stderr=False)
        self._err = self._console(stderr=True)

    def _console(self, *, stderr: bool) -> Console:
        return Console(
            stderr=stderr, color_system=None if self.plain else "auto", highlight=False, markup=False, emoji=False
        )

    def note(self, text: str) -> None:
        """Shows a line about what happened."""
        self._err.print(shown(text), style="dim", soft_wrap=True)

    def complain(self, error: object) -> None:
        """Shows a line about what could not be done."""
        self._err.print(shown(str(error)), style="yellow", soft_wrap=True)

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Shows names and what they stand for, in two columns."""
        rows = list(rows)
        width = max(len(name) for name, _ in rows)
        room = 0 if self.plain else self._err.width - width - 3
        for name, value in rows:
            lines = textwrap.wrap(shown(value), room) if room >= NARROWEST else [shown(value)]
            self._err.print(shown(f"{name:<{width}}"), style="cyan", end="  ")
            self._err.print(("\n" + " " * (width + 2)).join(lines), soft_wrap=True)

    def piece(self, text: str) -> None:
        """Shows the next part of an answer at once."""
        print(shown(text), end="", flush=True)

    def end_of_answer(self, remark: str = "") -> None:
        """`remark`: how it ended, if that needs saying."""
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
