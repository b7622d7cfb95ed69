"""Rows that are finished and not yet written, kept on the driver's node: what a lost worker had done isn't done again.

It is made an actor of Ray's; nothing here needs Ray.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FATAL_STARTS = 4  # a batch that was begun so often without a row between has something that ends its worker

Row = Mapping[str, Any]


@dataclass
class _Batch:
    rows: dict[str, Row] = field(default_factory=dict)  # by key
    starts: int = 0  # since the last row


@dataclass(frozen=True)
class Begun:
    """`rows`: of an earlier try, by key. `is_again`: the last one ended without a further row. `is_fatal`: so many
    did that what comes next must be at fault."""

    rows: Mapping[str, Row]
    is_again: bool
    is_fatal: bool


class FinishedRows:
    def __init__(self) -> None:
        self._batches: dict[str, _Batch] = {}
        self._first: float | None = None

    def begin(self, batch: str) -> Begun:
        """A worker begins a batch, perhaps for another one that is lost."""
        self._first = self._first or time.monotonic()
        found = self._batches.setdefault(batch, _Batch())
        found.starts += 1
        return Begun(dict(found.rows), found.starts > 1, found.starts >= FATAL_STARTS)

    def seconds(self) -> float:
        """Since a first worker, its model loaded, began."""
        return 0.0 if self._first is None else time.monotonic() - self._first

    def add(self, batch: str, key: str, row: Row) -> None:
        """`key`: the row's own within its batch."""
        found = self._batches.setdefault(batch, _Batch())
        found.rows[key] = row
        found.starts = 0

    def forget(self, batch: str) -> None:
        """Its rows are written."""
        self._batches.pop(batch, None)
