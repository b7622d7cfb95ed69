"""Where a run reports."""

from __future__ import annotations

from typing import Protocol

from omnilmm_lite.progress import Progress


class Notes(Progress, Protocol):
    """Progress that can say something that stays."""

    def note(self, text: str) -> None: ...
