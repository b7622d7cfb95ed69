"""What became of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from omnilmm_lite.caption.writers.writer import Caption


class Become(Enum):
    DESCRIBED = auto()
    FAILED = auto()
    HAD = auto()  # it has its line already
    ELSEWHERE = auto()  # it is another shard's
    KEPT = auto()  # it has what would be written beside it already
    WRITTEN = auto()  # beside it, from its line of an earlier run
    UNWRITTEN = auto()  # it could not be written beside it or into it


@dataclass(frozen=True)
class Outcome:
    """`line` is what the output gets, as `Output.append` takes it; None where it has the picture's line already, or
    nothing is to be done. `remark`: what of the picture had to be ignored. `problem`: why nothing was written beside
    it."""

    path: str
    line: dict[str, Any] | None
    caption: Caption | None = None
    sha256: str | None = None
    become: Become = Become.HAD
    remark: str = ""
    problem: str = ""

    @property
    def error(self) -> str | None:
        return None if self.line is None else self.line.get("error")
