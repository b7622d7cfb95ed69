"""What came out of a stage, and whether it still counts."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks.card.run import Json
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_text
from omnilmm_lite.files.json_file import read_json


@dataclass(frozen=True)
class Result:
    """`failure`: why the stage didn't end as it should; `data` is then what it had saved until there."""

    stage: str
    made_with: dict[str, str]  # see `benchmarks.card.card.made_with`
    at: str  # date and time, UTC
    seconds: float
    failure: str | None
    data: Json

    def counts(self, made_with: dict[str, str]) -> bool:
        """Whether it needn't be made again."""
        return self.failure is None and self.made_with == made_with

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")  # in the order of the tables

    @classmethod
    def read(cls, path: Path) -> Result | None:
        """None where there is none, or none that can be read: it is made again then."""
        if not path.is_file():
            return None
        try:
            return cls(**read_json(path))
        except (InputError, TypeError):
            return None


def number(value: float, digits: int = 4) -> float | None:
    """Rounded to so many significant digits; None for what isn't finite, for which JSON has no word."""
    if not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
