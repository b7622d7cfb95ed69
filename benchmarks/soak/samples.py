"""How large the server is while time goes on."""

from __future__ import annotations

import mmap
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.soak.server import PROC, Server

MIB = 2**20


@dataclass(frozen=True)
class Sample:
    at_s: float
    server_bytes: int  # resident
    helpers_bytes: int
    files: int  # open descriptors
    threads: int


@dataclass(frozen=True)
class Trend:
    """Of one number over the run, without its first tenth."""

    first: float  # mean of the first quarter
    last: float
    most: float
    per_hour: float  # slope of the line through all of it

    @property
    def growth(self) -> float:
        return self.last / self.first - 1 if self.first else 0.0


def sample(served: Server, started: float) -> Sample:
    pid = served.process.pid
    return Sample(
        at_s=time.monotonic() - started,
        server_bytes=_resident(pid),
        helpers_bytes=sum(_resident(number) for number in served.helpers()),
        files=len(list((PROC / f"{pid}/fd").iterdir())),
        threads=len(list((PROC / f"{pid}/task").iterdir())),
    )


def samples_until(served: Server, over: threading.Event, every_s: float) -> list[Sample]:
    started, samples = time.monotonic(), []
    while not over.wait(every_s):
        samples.append(sample(served, started))
    return samples


def trend(samples: Sequence[Sample], name: str) -> Trend:
    kept = samples[len(samples) // 10 :]
    values = [float(getattr(each, name)) for each in kept]
    quarter = max(1, len(values) // 4)
    slope = statistics.linear_regression([each.at_s for each in kept], values).slope if len(kept) > 1 else 0.0
    return Trend(statistics.fmean(values[:quarter]), statistics.fmean(values[-quarter:]), max(values), 3600 * slope)


def _resident(pid: int) -> int:
    try:
        return int((PROC / f"{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:  # it has just ended
        return 0
