"""Rows that are finished and not yet written, kept on the driver's node: what a lost worker had done isn't done again.

It is made an actor of Ray's; nothing here needs Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FATAL_STARTS = 4  # a batch that was begun so often without a row between has a picture that ends its worker


@dataclass
class _Batch:
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by path
    starts: int = 0  # since the last row


@dataclass(frozen=True)
class Begun:
    """`rows`: of an earlier try, by path. `is_again`: the last one ended without a further row. `is_fatal`: so many
    did that a picture must be at fault."""

    rows: Mapping[str, Mapping[str, Any]]
    is_again: bool
    is_fatal: bool


class FinishedRows:
    def __init__(self) -> None:
        self._batches: dict[str, _Batch] = {}

    def begin(self, batch: str) -> Begun:
        """A worker begins a batch, perhaps for another one that is lost."""
        found = self._batches.setdefault(batch, _Batch())
        found.starts += 1
        return Begun(dict(found.rows), found.starts > 1, found.starts >= FATAL_STARTS)

    def add(self, batch: str, row: Mapping[str, Any]) -> None:
        found = self._batches.setdefault(batch, _Batch())
        found.rows[row["path"]] = row
        found.starts = 0

    def forget(self, batch: str) -> None:
        """Its rows are written."""
        self._batches.pop(batch, None)
