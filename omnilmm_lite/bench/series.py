"""One measurement, repeated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """Seconds of each run, in order, at least one. The first runs, which warm up, are not among them."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """From the best run to the worst, as a share of the median."""
        return (max(self.seconds) - self.best) / self.median if self.median else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The seconds as JSON stores them, rounded to microseconds."""
        return {
            "median_s": round(self.median, 6),
            "min_s": round(self.best, 6),
            "spread": round(self.spread, 4),
            "samples_s": [round(each, 6) for each in self.seconds],
        }


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
