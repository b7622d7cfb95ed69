"""A batch that is begun again has what an earlier worker finished; at most one row is under way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from omnilmm_lite.cluster.finished_rows import FATAL_STARTS, FinishedRows
from omnilmm_lite.cluster.kept_batch import KeptBatch


class SlowActor:
    """Whose calls are done once they are waited for."""

    def __init__(self, held: FinishedRows) -> None:
        self.waiting = 0
        self.begin = SimpleNamespace(remote=lambda name: lambda: held.begin(name))
        self.add = SimpleNamespace(remote=self._add)
        self._held = held

    def _add(self, *row: Any) -> Any:
        self.waiting += 1

        def done() -> None:
            self.waiting -= 1
            self._held.add(*row)

        return done


def begin(rows: FinishedRows) -> tuple[KeptBatch, SlowActor]:
    actor = SlowActor(rows)
    return KeptBatch("a", actor, lambda call: call()), actor


def test_a_lost_worker_costs_one_row() -> None:
    rows = FinishedRows()
    batch, actor = begin(rows)
    for number in range(5):
        batch.add(str(number), {"n": number})
        assert actor.waiting == 1
    again, actor = begin(rows)
    assert again.rows == {str(number): {"n": number} for number in range(4)}
    again.add("4", {"n": 4})
    again.settle()
    assert actor.waiting == 0 and len(begin(rows)[0].rows) == 5


def test_starts_without_a_row_are_counted() -> None:
    rows = FinishedRows()
    assert rows.seconds() == 0.0
    starts = [begin(rows)[0] for _ in range(FATAL_STARTS)]
    assert [batch.is_again for batch in starts] == [False] + [True] * (FATAL_STARTS - 1)
    assert [batch.is_fatal for batch in starts] == [False] * (FATAL_STARTS - 1) + [True]
    starts[-1].add("0", {})
    starts[-1].settle()
    batch, _ = begin(rows)
    assert not batch.is_again and not batch.is_fatal
    rows.forget("a")
    assert begin(rows)[0].rows == {}
