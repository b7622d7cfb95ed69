"""easy-VQA: the answer is one word out of thirteen."""

from __future__ import annotations

from collections.abc import Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.scoring.result import Result, Verdict, percentage, percentages_by

SHAPES = frozenset({"circle", "rectangle", "triangle"})
COLORS = frozenset({"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"})
ANSWERS = frozenset({"yes", "no"}) | SHAPES | COLORS


def kind(answer: str | None) -> str:
    """The kind of question, by its right answer: yes/no, colour or shape."""
    if answer in SHAPES:
        return "shape"
    return "colour" if answer in COLORS else "yes/no"


def score(predictions: Sequence[Prediction], profile: Profile) -> Result:
    """Answers that are the right word, exactly; anything but one of the thirteen words is unparsed."""
    verdicts = [
        Verdict(each.item.index, each.text if each.text in ANSWERS else None, each.text == each.item.answer)
        for each in predictions
    ]
    rights = [each.correct for each in verdicts]
    return Result(
        Benchmark.EASYVQA,
        profile,
        (percentage("accuracy", rights),),
        percentages_by([kind(each.item.answer) for each in predictions], rights),
        tuple(verdicts),
        sum(each.extracted is None for each in verdicts),
    )
