"""What became of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """`line` is what the output gets, as `Output.append` takes it; None where it has the picture's line already."""

    path: str
    line: dict[str, Any] | None
