"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.evaluation.benchmark import Profile
from omnilmm_lite.evaluation.comparison import Comparison
from omnilmm_lite.evaluation.running.scored import Scored
from omnilmm_lite.evaluation.running.session import Session
from omnilmm_lite.evaluation.scoring.result import Result
from omnilmm_lite.sampling_params import SamplingParams


@dataclass(frozen=True)
class Section:
    """A benchmark. `base` and `comparison`: of the model that this one is held against. `tokens`: what a judge has
    taken, asked and replied."""

    session: Session
    scored: Scored
    base: Scored | None = None
    comparison: Comparison | None = None
    tokens: tuple[int, int] | None = None

    @property
    def result(self) -> Result | None:
        return self.scored.result


@dataclass(frozen=True)
class Report:
    """`model` and `base` by name and hash. Nothing in it depends on when or how fast it was made."""

    model: str
    base: str | None
    profile: Profile
    decoding: SamplingParams
    part: str  # empty: all
    sections: tuple[Section, ...]

    @property
    def results(self) -> list[Result]:
        return [each.result for each in self.sections if each.result is not None]

    @property
    def comparisons(self) -> list[Comparison]:
        return [each.comparison for each in self.sections if each.comparison is not None]
