"""SEED-Bench, the questions about single pictures: four options each."""

from __future__ import annotations

from collections.abc import Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.scoring.multiple_choice import AS_TEXT, READINGS, verdict
from omnilmm_lite.evaluation.scoring.result import LEFT_OUT, Result, count_unparsed, percentage, percentages_by


def score(predictions: Sequence[Prediction], profile: Profile) -> Result:
    """Accuracy over all rows, and by dimension; beside it, as LLaVA's script counts: the bare letter or nothing."""
    verdicts = {each: [verdict(prediction, each) for prediction in predictions] for each in Profile}
    other = next(each for each in Profile if each != profile)
    rights = [each.correct for each in verdicts[profile]]
    bare = [each.item.answer is not None and each.text == each.item.answer for each in predictions]
    return Result(
        Benchmark.SEEDBENCH,
        profile,
        (
            percentage("accuracy", rights),
            percentage(f"accuracy, {READINGS[other]}", [each.correct for each in verdicts[other]]),
            percentage("accuracy, answers that are the bare letter", bare),
        ),
        percentages_by([each.item.category for each in predictions], rights),
        tuple(verdicts[profile]),
        count_unparsed(verdicts[profile]),
        (LEFT_OUT, AS_TEXT),
    )
