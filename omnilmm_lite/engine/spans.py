"""Which slots step together: a step is bound to neighbouring slots, so those that lie between cost something, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

NEWEST_WEIGHT = 0.2  # of the last step in a running mean
# Until there were steps: what a row more costs, in one row's time. Measured: docs/scale.md.
FURTHER_ROW = 0.25


@dataclass(frozen=True)
class SlotRange:
    """Neighbouring slots: `count` of them from `first` on."""

    first: int
    count: int


class StepCosts:
    """How long steps took, by their rows."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def note(self, rows: int, seconds: float) -> None:
        mean = self._seconds.get(rows, seconds)
        self._seconds[rows] = mean + NEWEST_WEIGHT * (seconds - mean)

    def expected(self, rows: int) -> float:
        """What such a step took, or would take by the nearest number of rows that there was."""
        if not self._seconds:
            return _relative(rows)
        nearest = min(self._seconds, key=lambda known: abs(known - rows))
        return self._seconds[nearest] * _relative(rows) / _relative(nearest)


def spans(slots: Sequence[int], cost: Callable[[int], float]) -> list[SlotRange]:
    """The cheapest way to step each of `slots`, which ascend: ranges that hold them all. `cost`: of a range's rows."""
    best: list[tuple[float, list[SlotRange]]] = [(0.0, [])]  # for the first 0, 1, ... slots
    for end in range(1, len(slots) + 1):
        ways = []
        for start in range(end):
            span = SlotRange(slots[start], slots[end - 1] - slots[start] + 1)
            before, ranges = best[start]
            ways.append((before + cost(span.count), [*ranges, span]))
        best.append(min(ways, key=lambda way: way[0]))
    return best[-1][1]


def _relative(rows: int) -> float:
    return 1.0 + FURTHER_ROW * (rows - 1)
