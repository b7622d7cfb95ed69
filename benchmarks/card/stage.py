"""The stages, most valuable first, and how long each may take."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from benchmarks.card.run import Json, Run

CPU_SLOWNESS = 10  # limits are for a card


class Measure(Protocol):
    """Measures, and hands over all it has so far as often as it likes: what was saved outlives a crash."""

    def __call__(self, run: Run, save: Callable[[Json], None]) -> None: ...


@dataclass(frozen=True)
class Stage:
    """`where`: module of `benchmarks.card.stages` and function, which only the stage's own process imports.

    `alone`: it says something without a card, too. `needs_build`: it uses the synthetic bundles.
    """

    name: str
    title: str
    limit_s: float
    where: str
    alone: bool = False
    needs_build: bool = False

    def limit(self, run: Run) -> float:
        return self.limit_s if run.on_card else self.limit_s * CPU_SLOWNESS

    def load(self) -> Measure:
        """The function that measures."""
        module, _, function = self.where.partition(":")
        return cast(Measure, getattr(importlib.import_module(f"benchmarks.card.stages.{module}"), function))


STAGES = (
    Stage("environment", "What is there", 60, "environment:measure", alone=True),
    Stage("tiny", "The built-in model against the CPU", 180, "agreement:measure_tiny", alone=True),
    Stage("products", "Each product by itself", 130, "products:measure", alone=True),
    Stage("build", "The synthetic model", 200, "build:measure", alone=True, needs_build=True),
    Stage("speed", "Speed", 80, "speed:measure", needs_build=True),
    Stage("speed-recorded", "Speed with CUDA graphs", 60, "speed:measure_recorded", needs_build=True),
    Stage("width", "Two layers and two blocks of full width against the CPU", 120, "agreement:measure_width",
          needs_build=True),
    Stage("profile", "Where the time goes", 70, "profile:measure", needs_build=True),
    Stage("turns", "Tower and decoder in turns", 60, "turns:measure", needs_build=True),
    Stage("conversion", "Quantizing the decoder", 100, "conversion:measure"),
    Stage("fit", "What fits into how much memory", 180, "fit:measure", needs_build=True),
)  # fmt: skip


def find_stage(name: str) -> Stage:
    """KeyError for a name that isn't one."""
    return {stage.name: stage for stage in STAGES}[name]
