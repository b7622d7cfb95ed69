"""The verdict in plain words: in how many of 100 answers somebody would notice a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnilmm_lite.quality.compare import Comparison
from omnilmm_lite.quality.data import Kind
from omnilmm_lite.quality.statistics import wilson_interval

LEVEL = 95  # %, of the interval
WIDE = 20  # answers of 100 between its ends: more tell little
DEFINITION = (
    "An answer counts as different where at one of its tokens, or at more, the two find another one likeliest: read "
    "greedily, it is worded differently from there on. In all others every word is the same. How much the meaning "
    "changes, this figure doesn't say"
)


@dataclass(frozen=True)
class Verdict:
    """Answers that were measured, and those that are worded differently; `low` and `high` are the ends of the interval
    of their share, 0 to 1, for other answers of this sort."""

    answers: int
    changed: int
    low: float
    high: float

    @property
    def of_100(self) -> int:
        """Differing answers, as a whole number of 100; 1 and 99 at the ends, unless it is none or all of them."""
        nearest = round(100 * self.changed / self.answers)
        if 0 < self.changed < self.answers:
            return min(max(nearest, 1), 99)
        return nearest

    @property
    def headline(self) -> str:
        if not self.changed:
            return "You would notice no difference in any answer."
        if self.changed == self.answers:
            return "You would notice a difference in every answer."
        return f"You would notice a difference in {self.of_100} of 100 answers."

    @property
    def explanation(self) -> str:
        """What was counted, and how far it holds."""
        low, high = (round(100 * share) for share in (self.low, self.high))
        if self.changed:
            of_all = "All" if self.changed == self.answers else f"{self.changed} of the"
            counted = f"{of_all} {self.answers} answers that were measured are worded differently somewhere."
        else:
            counted = f"All {self.answers} answers that were measured are the same, word for word."
        few = "; more data would narrow it down" if high - low > WIDE else ""
        return f"{counted} Of 100 others of this sort, {low} to {high} would differ ({LEVEL} %{few})."


def verdict_of(comparison: Comparison) -> Verdict | None:
    """None where the data has no answers."""
    is_answer = comparison.kinds == Kind.ANSWER
    sequences = comparison.sequences[is_answer]
    answers = len(np.unique(sequences))
    if not answers:
        return None
    changed = len(np.unique(sequences[~comparison.scores.agrees[is_answer]]))
    low, high = wilson_interval(changed, answers)
    return Verdict(answers, changed, low, high)
