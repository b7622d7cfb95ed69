"""Two models on the same questions: did the second one lose anything?"""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.scoring.result import Result, Verdict
from omnilmm_lite.evaluation.statistics import LEVEL, PairedComparison, compare_pairs

SIGNIFICANT = 1 - LEVEL


@dataclass(frozen=True)
class Flip:
    """A question that one model has right and the other wrong."""

    index: str
    first: Verdict
    second: Verdict


@dataclass(frozen=True)
class Comparison:
    """`verdict` is the outcome in one sentence."""

    benchmark: Benchmark
    pairs: PairedComparison
    flips: tuple[Flip, ...]
    verdict: str


def compare(first: Result, second: Result) -> Comparison:
    """The second model against the first, question by question.

    InputError where the results aren't of one benchmark and profile, or not over the same questions.
    """
    if (first.benchmark, first.profile) != (second.benchmark, second.profile):
        raise InputError(
            f"{first.benchmark} by {first.profile} and {second.benchmark} by {second.profile} can't be compared; score "
            "both alike"
        )
    indices = [each.index for each in first.questions]
    if indices != [each.index for each in second.questions]:
        raise InputError(
            f"{first.benchmark}: the two models weren't asked the same questions; finish both runs, or ask again with "
            "--retry-errors"
        )
    pairs = compare_pairs([each.correct for each in first.questions], [each.correct for each in second.questions])
    flips = tuple(
        Flip(before.index, before, after)
        for before, after in zip(first.questions, second.questions, strict=True)
        if before.correct != after.correct
    )
    return Comparison(first.benchmark, pairs, flips, _verdict(pairs))


def _verdict(pairs: PairedComparison) -> str:
    changed = f"{counted(pairs.lost, 'answer')} turned wrong and {pairs.gained} right, of {pairs.questions}"
    if pairs.questions > 1 and not pairs.gained + pairs.lost:  # resamples of no change say nothing
        bound = 100 * (1 - SIGNIFICANT ** (1 / pairs.questions))
        return f"{changed}: no difference shows; with {100 * LEVEL:.0f} % confidence under {bound:.2g} % would change."
    if pairs.interval is None:
        return f"{changed}: too few questions to tell."
    low, high = 100 * pairs.interval.low, 100 * pairs.interval.high
    spread = f"{100 * pairs.difference:+.1f} points, {100 * LEVEL:.0f} % interval {low:+.1f} to {high:+.1f}"
    if pairs.p_value >= SIGNIFICANT:
        return f"{changed} ({spread}, p = {pairs.p_value:.2g}): no difference shows beyond chance."
    side = "worse" if pairs.difference < 0 else "better"
    return f"{changed} ({spread}, p = {pairs.p_value:.2g}): the second model is {side}, beyond chance."
