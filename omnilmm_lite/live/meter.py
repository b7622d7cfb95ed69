"""Counts and times what a session does, for its status."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection

from omnilmm_lite.live.events import Stage, StageLatency, Status

LATENCIES = 100  # of each stage, that the 95th percentile is of
FPS_WINDOW_S = 3.0
MOST_CAPTURES = 512  # times kept for the rate


class Meter:
    """Changed by the stages, in the session's event loop."""

    def __init__(self) -> None:
        self.captured = self.described = self.unchanged = self.dropped = self.waiting_questions = 0
        self._captures: deque[float] = deque(maxlen=MOST_CAPTURES)
        self._latencies: dict[Stage, deque[float]] = {}

    def count_captured(self) -> None:
        """A frame came."""
        self.captured += 1
        self._captures.append(time.monotonic())

    def took(self, stage: Stage, seconds: float) -> None:
        """A stage did its work once."""
        self._latencies.setdefault(stage, deque(maxlen=LATENCIES)).append(seconds)

    def status(self) -> Status:
        """The counts now."""
        return Status(
            fps=round(self._fps(), 2),
            captured=self.captured,
            described=self.described,
            unchanged=self.unchanged,
            dropped=self.dropped,
            waiting_questions=self.waiting_questions,
            latencies=tuple(
                StageLatency(stage, round(values[-1], 4), round(percentile(values, 0.95), 4))
                for stage in Stage
                if (values := self._latencies.get(stage))
            ),
        )

    def _fps(self) -> float:
        """Over FPS_WINDOW_S, or since the first frame."""
        now = time.monotonic()
        recent = [each for each in self._captures if now - each <= FPS_WINDOW_S]
        if len(recent) < 2:
            return 0.0
        whole_window = len(recent) < len(self._captures)
        span = FPS_WINDOW_S if whole_window else now - recent[0]
        return len(recent) / span if span > 0 else 0.0


def percentile(values: Collection[float], part: float) -> float:
    """The smallest value that `part` of all are not above (nearest rank)."""
    return sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]
