"""Counting what is done, and saying how long the rest will take."""

from __future__ import annotations

import time

from omnilmm_lite.caption.outcome import Outcome


class Tally:
    """How many pictures were described, could not be read, or had their line already."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.described = self.failed = self.skipped = 0
        self._started: float | None = None  # when the first picture that had no line yet began, or a little before

    def count(self, outcome: Outcome) -> None:
        if outcome.line is None:
            self.skipped += 1
        elif "error" in outcome.line:
            self.failed += 1
        else:
            self.described += 1
        if self._started is None or not self.described + self.failed:
            self._started = time.monotonic()

    def time_left(self) -> str:
        """From the mean of the pictures so far, those that had a line left out; empty where there is none yet."""
        done = self.described + self.failed
        remaining = self.total - done - self.skipped
        if self._started is None or not done or not remaining:
            return ""
        minutes, seconds = divmod(round((time.monotonic() - self._started) / done * remaining), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left, "

    def __str__(self) -> str:
        text = f"{self.described} described, {self.failed} could not be read, {self.skipped} had a line already"
        missing = self.total - self.described - self.failed - self.skipped
        return f"{text}, {missing} to do" if missing else text
