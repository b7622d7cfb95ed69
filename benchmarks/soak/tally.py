"""What the clients met, kind by kind."""

from __future__ import annotations

import statistics
import threading
from collections import Counter, defaultdict
from typing import Any

MOST_FAULTS = 50  # that are kept in words


class Tally:
    """Filled by all clients' threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._wrong: Counter[str] = Counter()
        self.faults: list[str] = []

    def add(self, kind: str, status: int, fault: str, seconds: float) -> None:
        with self._lock:
            self._statuses[kind][status] += 1
            self._seconds[kind].append(seconds)
            if fault:
                self._wrong[kind] += 1
                if len(self.faults) < MOST_FAULTS:
                    self.faults.append(f"{kind}: {fault}")

    @property
    def total(self) -> int:
        return sum(statuses.total() for statuses in self._statuses.values())

    @property
    def wrong(self) -> int:
        return self._wrong.total()

    def rows(self) -> list[dict[str, Any]]:
        """A kind each: how many, how many wrong, statuses (0: none was waited for), and the median's seconds."""
        return [
            {
                "client": kind,
                "times": statuses.total(),
                "wrong": self._wrong[kind],
                "statuses": {str(status): count for status, count in sorted(statuses.items())},
                "median_s": round(statistics.median(self._seconds[kind]), 3),
            }
            for kind, statuses in self._statuses.items()
        ]
