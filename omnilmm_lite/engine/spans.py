"""Which slots step together: a step is bound to neighbouring slots, so those that lie between cost something, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SLOWER_WEIGHT, QUICKER_WEIGHT = 0.2, 0.5  # of the last step in a running mean
OUTLIER = 2.0  # times the mean, beyond which a step counts no more: the machine was busy with something else
# Until there were steps: what a row more costs, in one row's time. Measured: docs/scale.md.
FURTHER_ROW = 0.25
FORGOTTEN_AFTER = 256  # runs: what was slow for a while has to be tried again


@dataclass(frozen=True)
class SlotRange:
    """Neighbouring slots: `count` of them from `first` on."""

    first: int
    count: int


class StepCosts:
    """How long steps took of late, by their rows."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._newest: dict[int, int] = {}  # by rows, the number of their last run
        self._runs = 0

    def note(self, rows: int, seconds: float) -> None:
        """A step of so many rows took so long. One that is slow by chance, or since it is the first, changes little:
        such steps would be avoided, and never be seen to be quick."""
        if rows in self._seconds:
            mean = self._seconds[rows]
            seconds = min(seconds, OUTLIER * mean)
            self._seconds[rows] += (QUICKER_WEIGHT if seconds < mean else SLOWER_WEIGHT) * (seconds - mean)
        else:
            self._seconds[rows] = min(seconds, self.expected(rows)) if self._seconds else seconds
        self._runs += 1
        self._newest[rows] = self._runs
        for known in [each for each, run in self._newest.items() if self._runs - run >= FORGOTTEN_AFTER]:
            del self._seconds[known], self._newest[known]

    def expected(self, rows: int) -> float:
        """What such a step took, or would take by the nearest number of rows that there was."""
        if not self._seconds:
            return _relative(rows)
        nearest = min(self._seconds, key=lambda known: abs(known - rows))
        return self._seconds[nearest] * _relative(rows) / _relative(nearest)


def spans(slots: Sequence[int], cost: Callable[[int], float]) -> list[SlotRange]:
    """The cheapest way to step each of `slots`, which ascend: ranges that hold them all. `cost`: of a range's rows."""
    if len(slots) == 1:
        return [SlotRange(slots[0], 1)]
    widest = slots[-1] - slots[0] + 1 if slots else 0
    costs = [cost(rows) for rows in range(1, widest + 1)]
    # for the first 0, 1, ... slots: the sum, and where its last range starts
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(slots) + 1):
        best.append(min((best[start][0] + costs[slots[end - 1] - slots[start]], start) for start in range(end)))
    ranges, end = list[SlotRange](), len(slots)
    while end:
        start = best[end][1]
        ranges.append(SlotRange(slots[start], slots[end - 1] - slots[start] + 1))
        end = start
    return ranges[::-1]


def _relative(rows: int) -> float:
    return 1.0 + FURTHER_ROW * (rows - 1)
