"""What `omnilmm-lite bench --against` found."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omnilmm_lite.machine.description import Machine


class Unit(Enum):
    """Of what a row compares; the value is how JSON's keys end."""

    SECONDS = "s"
    BYTES = "bytes"


@dataclass(frozen=True)
class MeasuredSide:
    """One of the two bundles, and where it ran."""

    bundle: str
    preset: str
    packing: str
    file_bytes: int
    device: str
    device_reason: str


@dataclass(frozen=True)
class Row:
    """One measurement of both, a value a round; less is better. `tokens`: how many one value is for, 0 for none."""

    name: str
    unit: Unit
    model: tuple[float, ...]
    against: tuple[float, ...]
    tokens: int = 0

    @property
    def ratios(self) -> tuple[float, ...]:
        """The model's value over the other's, in each round."""
        return tuple(a / b for a, b in zip(self.model, self.against, strict=True) if b)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds; below 1 the model needs less. None where the other needs nothing."""
        return statistics.median(self.ratios) if self.ratios else None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON stores it: medians, all values, and the rounds' ratios."""
        digits = 6 if self.unit is Unit.SECONDS else None  # None: whole numbers
        data: dict[str, Any] = {"name": self.name, "tokens": self.tokens}
        for side, values in (("model", self.model), ("against", self.against)):
            data[f"{side}_{self.unit.value}"] = round(statistics.median(values), digits)
            data[f"{side}_samples_{self.unit.value}"] = [round(each, digits) for each in values]
        ratios = [round(each, 4) for each in self.ratios]
        return data | {"ratio": None if self.ratio is None else round(self.ratio, 4), "ratios": ratios}


@dataclass(frozen=True)
class Comparison:
    """`rounds`: how often each bundle was loaded and measured, after once to warm up."""

    model: MeasuredSide
    against: MeasuredSide
    machine: Machine
    threads: int | None  # of the CPU; None where onnxruntime chose
    context: int
    rounds: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields as they are named."""
        rows = [row.to_dict() for row in self.rows]
        shallow = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        parts = {name: dataclasses.asdict(shallow[name]) for name in ("model", "against", "machine")}
        return shallow | parts | {"rows": rows, "notes": list(self.notes)}
