"""What `omnilmm-lite bench --vram` finds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.bench.card.ballast import Room
from omnilmm_lite.bench.card.memory_watch import CardFootprint

CLOSE = 0.05  # of the prediction: what the plan is wanted to keep to


@dataclass(frozen=True)
class Prediction:
    """The plan's bytes for something that was done, and the most that was measured until then."""

    what: str
    predicted: int
    measured: int

    @property
    def difference(self) -> float:
        """As a share of the prediction; above 0 the plan said too little."""
        return self.measured / self.predicted - 1

    @property
    def is_close(self) -> bool:
        return abs(self.difference) <= CLOSE


@dataclass(frozen=True)
class Turns:
    """Bytes held after each time that tower and decoder were both loaded and let go in turns."""

    used: tuple[int, ...]

    @property
    def drift(self) -> int:
        """From the first turn to the last."""
        return self.used[-1] - self.used[0]


@dataclass(frozen=True)
class Fit:
    """`failure`: what ended it, and in which stage; None where all fitted. `peak`: bytes, of all stages."""

    bundle: str
    preset: str
    device: str
    card: str
    driver: str | None
    context: int  # tokens
    vram: int  # GB
    room: Room
    stages: tuple[CardFootprint, ...]
    peak: int
    predictions: tuple[Prediction, ...]
    turns: Turns | None
    failure: str | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields as they are named, what is computed from them beside them."""
        data = dataclasses.asdict(self)
        for prediction, entry in zip(self.predictions, data["predictions"], strict=True):
            entry |= {"difference": round(prediction.difference, 4), "is_close": prediction.is_close}
        if self.turns is not None:
            data["turns"]["drift"] = self.turns.drift
        return data
