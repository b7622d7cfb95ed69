"""How far a run over a folder is, on stderr: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from omnilmm_lite.caption.tally import Tally
from omnilmm_lite.console import plain_console
from omnilmm_lite.files.printable import printable

LINE_S = 10.0  # between two lines of a log
SHOWN_PATH = 60  # characters


class CaptionProgress:
    """Of one run. `is_endless`: nobody knows how many pictures come."""

    def __init__(self, tally: Tally, *, is_endless: bool = False) -> None:
        self._tally, self._is_endless = tally, is_endless
        self._console = plain_console(stderr=True)
        self._last = time.monotonic()
        columns = [
            TextColumn("pictures", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}", markup=False),
        ]
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=None if is_endless else tally.total, line="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, path: str) -> None:
        """The picture is counted."""
        left = self._tally.time_left()
        line = ", ".join(part for part in (left, repr(printable(path, SHOWN_PATH))) if part)
        self._bar.update(self._task, completed=self._tally.done, line=line)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last >= LINE_S:
            self._last = now
            of = "" if self._is_endless else f" of {self._tally.total}"
            self.note(f"{self._tally.done}{of} pictures, {line}")

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text)
