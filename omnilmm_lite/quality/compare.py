"""The comparison: two models over the same sequences, one sequence's logits in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.progress import Progress
from omnilmm_lite.quality.compared_model import ComparedModel
from omnilmm_lite.quality.data import EvaluationSequence, Positions, positions
from omnilmm_lite.quality.statistics import Ints, Scores, score


@dataclass(frozen=True)
class Comparison:
    """Every position that counts, one entry each in all arrays."""

    samples: tuple[EvaluationSequence, ...]
    scores: Scores
    sequences: Ints  # the sample's index
    rows: Ints  # the place in the sample
    kinds: Ints  # a Kind each


def compare(
    subject: ComparedModel, base: ComparedModel, samples: Sequence[EvaluationSequence], progress: Progress
) -> Comparison:
    """Runs both over `samples`. They have to be two forms of one model: see `check_comparable`."""
    asked = list(positions(samples, base.config))
    # the bundle first: it has little to do beforehand, and refuses what it can't take before hours of the other's work
    found, expected = subject.predict(samples, progress), base.predict(samples, progress)
    progress.stage("comparison", len(samples))
    scores = []
    for which, model_logits, base_logits in zip(asked, found, expected, strict=True):
        scores.append(score(base_logits[which.rows], model_logits[which.rows], which.targets))
        progress.step(f"{len(which.rows)} positions")
    return _join(samples, scores, asked)


def _join(samples: Sequence[EvaluationSequence], scores: Sequence[Scores], asked: Sequence[Positions]) -> Comparison:
    def joined(parts: list[NDArray[np.int64]]) -> Ints:
        return np.concatenate(parts)

    return Comparison(
        samples=tuple(samples),
        scores=Scores.concatenate(scores),
        sequences=joined([np.full(len(which.rows), index) for index, which in enumerate(asked)]),
        rows=joined([which.rows for which in asked]),
        kinds=joined([which.kinds for which in asked]),
    )
