"""What this process holds of a card's memory, and the most it held: by the driver, which sees what no arena counts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

INTERVAL = 0.004  # seconds between two looks: shorter than a picture or a prompt, and next to no work


@dataclass(frozen=True)
class CardFootprint:
    """Bytes of this process, CUDA's context included: at the end of a stage, and at most during it."""

    stage: str
    used: int
    peak: int


class MemoryWatch:
    """Looks again and again, in a thread of its own, as long as the block lasts. What other programs take or give back
    meanwhile is counted, too: nobody else should use the card."""

    def __init__(self, used: Callable[[], int], base: int) -> None:
        """`used`: bytes in use of the card now. `base`: what of them isn't ours."""
        self._used, self._base = used, base
        self._peak = 0
        self._lock = threading.Lock()  # a look takes a while, and counts for the stage that it began in
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="card memory", daemon=True)
        self.footprints: list[CardFootprint] = []

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def peak(self) -> int:
        """Of all stages so far."""
        return max((each.peak for each in self.footprints), default=0)

    def now(self) -> int:
        """Bytes that this process holds."""
        return self._used() - self._base

    def note(self, stage: str) -> CardFootprint:
        """Ends a stage; the next one has a peak of its own."""
        with self._lock:
            used = self.now()
            footprint = CardFootprint(stage, used, max(self._peak, used))
            self._peak = 0
        self.footprints.append(footprint)
        return footprint

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            with self._lock, contextlib.suppress(OSError):  # the driver may be busy; `now` says it if it lasts
                self._peak = max(self._peak, self.now())
