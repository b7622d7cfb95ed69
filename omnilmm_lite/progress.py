"""Where long jobs report."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a long job reports: stages one after another, each of a known number of steps."""

    def stage(self, name: str, steps: int) -> None: ...

    def step(self, line: str) -> None: ...
