"""A batch as its worker has it: what an earlier one had finished is there, and what gets done is known elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omnilmm_lite.cluster.finished_rows import Row

LOST = "picture: every worker that began with it was lost, for lack of memory perhaps; look at it, and try it alone"


class KeptBatch:
    """`rows`: those that are finished, by key. `is_again`, `is_fatal`: see `Begun`."""

    def __init__(self, name: str, kept: Any, get: Callable[[Any], Any]) -> None:
        """`kept`: the actor of `FinishedRows`; `get` waits for what it says."""
        begun = get(kept.begin.remote(name))
        self.name = name
        self.rows: dict[str, Row] = dict(begun.rows)
        self.is_again: bool = begun.is_again
        self.is_fatal: bool = begun.is_fatal
        self._kept, self._get = kept, get
        self._sent: Any = None

    def add(self, key: str, row: Row) -> None:
        """It is on its way when this returns, and the one before has arrived: a lost worker costs no more."""
        self.rows[key] = row
        self.settle()
        self._sent = self._kept.add.remote(self.name, key, row)

    def settle(self) -> None:
        """All have arrived when this returns."""
        if self._sent is not None:
            self._get(self._sent)
            self._sent = None
