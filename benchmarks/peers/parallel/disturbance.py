"""What else computed meanwhile: beside other programs nothing that two servers are compared by means much."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 2.0
STAT = Path("/proc/stat")
WORKING = (0, 1, 2, 5, 6, 7)  # of a line's numbers: user, nice, system, irq, softirq, steal


@dataclass(frozen=True)
class Clock:
    """Seconds of processor time: of all programs, and of this one with its children that have ended."""

    wall: float
    everybody: float
    own: float

    @classmethod
    def read(cls) -> Clock:
        own = sum(os.times()[:4])
        return cls(time.perf_counter(), _everybody(own), own)

    def others(self, earlier: Clock) -> float:
        """Processors that other programs kept busy since `earlier`."""
        return max(0.0, (self.everybody - earlier.everybody) - (self.own - earlier.own)) / (self.wall - earlier.wall)


def wait_until_quiet(limit: float) -> None:
    """Returns when other programs keep no more than `limit` processors busy."""
    others = math.inf
    while others > limit:
        before = Clock.read()
        time.sleep(SAMPLE_S)
        others = Clock.read().others(before)


def _everybody(own: float) -> float:
    """On systems other than Linux nobody but we."""
    if sys.platform == "linux":
        numbers = STAT.read_text(encoding="ascii").splitlines()[0].split()[1:]
        own = sum(int(numbers[at]) for at in WORKING) / os.sysconf("SC_CLK_TCK")
    return own
