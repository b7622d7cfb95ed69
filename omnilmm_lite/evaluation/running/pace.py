"""How fast a run gets on."""

from __future__ import annotations

import time

from omnilmm_lite.evaluation.counted import counted


class Pace:
    """Questions a minute, over all that were asked since the first one."""

    def __init__(self) -> None:
        self.done = 0
        self._seconds = 0.0
        self._last = time.monotonic()

    def begin(self, ago: float = 0.0) -> None:
        """The clock goes on from here, or some seconds ago: loading a model is nobody's question."""
        self._last = time.monotonic() - ago

    def count(self) -> None:
        now = time.monotonic()
        self._seconds += now - self._last
        self._last = now
        self.done += 1

    def left(self, questions: int) -> str:
        """So many a minute, and how long the rest takes at that speed."""
        minutes, seconds = divmod(round(self._seconds / self.done * questions), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{self._rate:.0f} a minute, {hours}:{minutes:02}:{seconds:02} left"

    @property
    def _rate(self) -> float:
        return 60 * self.done / self._seconds if self._seconds else 0.0

    def __str__(self) -> str:
        return f"{counted(self.done, 'question')} asked, {self._rate:.0f} a minute"
