"""Counting what is done, and saying how long the rest will take."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

from omnilmm_lite.caption.outcome import Become, Outcome


class Tally:
    """How many pictures were described, could not be read, or had their line already."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._counts: Counter[Become] = Counter()
        self._started: float | None = None  # when the first picture that was asked about began, or a little before

    def count(self, outcome: Outcome) -> None:
        self._counts[outcome.become] += 1
        if self._started is None or not self._asked:
            self._started = time.monotonic()

    @property
    def done(self) -> int:
        return self._counts.total()

    @property
    def described(self) -> int:
        return self._counts[Become.DESCRIBED]

    def time_left(self) -> str:
        """From the mean of the pictures so far, those that needed no look left out; empty where there is none yet."""
        remaining = self.total - self.done
        if self._started is None or not self._asked or remaining <= 0:
            return ""
        seconds = round((time.monotonic() - self._started) / self._asked * remaining)
        return f"{timedelta(seconds=seconds)} left"

    def __str__(self) -> str:
        counts = self._counts
        parts = [
            f"{counts[Become.DESCRIBED]} described",
            f"{counts[Become.FAILED]} could not be read",
            f"{counts[Become.HAD]} had a line already",
        ]
        if counts[Become.ELSEWHERE]:
            parts.append(f"{counts[Become.ELSEWHERE]} are other shards'")
        if counts[Become.KEPT]:
            parts.append(f"{counts[Become.KEPT]} were kept as they are")
        if counts[Become.WRITTEN]:
            parts.append(f"{counts[Become.WRITTEN]} were written from their line")
        if counts[Become.UNWRITTEN]:
            parts.append(f"{counts[Become.UNWRITTEN]} could not be written")
        if missing := max(self.total - self.done, 0):
            parts.append(f"{missing} to do")
        return ", ".join(parts)

    @property
    def _asked(self) -> int:
        return sum(self._counts[each] for each in (Become.DESCRIBED, Become.FAILED, Become.UNWRITTEN))
