"""MathVista: choices, numbers and lists, by rules alone or with what a judge has extracted from the answers."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping, Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import NO_ATTRIBUTES, Prediction
from omnilmm_lite.evaluation.mathvista_fields import AnswerType, MathVistaFields
from omnilmm_lite.evaluation.scoring import mathvista_official
from omnilmm_lite.evaluation.scoring.option_letters import extract_option
from omnilmm_lite.evaluation.scoring.result import (
    LEFT_OUT,
    Result,
    Score,
    Verdict,
    count_unparsed,
    percentage,
    percentages_by,
)

BY_RULES = "rule-extracted: without a judge, an answer counts only where the rules alone can read it"
BY_JUDGE = "judge-extracted: comparable only with figures of the same judge"


def kit_verdict(prediction: Prediction, extraction: str | None, *, zero_counts: bool) -> Verdict:
    """As the kit reads an answer: a letter or an option's text, or nothing but a number.

    `extraction` is a judge's reply, used where the answer alone doesn't decide. `zero_counts` False is the kit's: a
    right answer of 0, and a list, never count.
    """
    fields = MathVistaFields.of(prediction.item)
    read = _read(prediction.text, prediction, fields, zero_counts)
    decides = read.extracted is not None if fields.is_choice else read.correct
    return read if decides or extraction is None else _read(extraction, prediction, fields, zero_counts)


def is_decided(prediction: Prediction) -> bool:
    """Whether the kit asks no judge: a choice that can be read, or a number that is right and not 0."""
    read = kit_verdict(prediction, None, zero_counts=False)
    return read.extracted is not None if MathVistaFields.of(prediction.item).is_choice else read.correct


def score(
    predictions: Sequence[Prediction], profile: Profile, extractions: Mapping[str, str] = NO_ATTRIBUTES
) -> Result:
    """`extractions`: a judge's replies by index; without them by rules alone, which the notes say."""
    judged = [(each, extractions.get(each.item.index)) for each in predictions]
    kit = [kit_verdict(*each, zero_counts=False) for each in judged]
    official = [mathvista_official.verdict(*each, empty_counts=False) for each in judged]
    figures = {
        Profile.VEK2402: {
            "accuracy": kit,
            "accuracy, 0 and lists counted too": [kit_verdict(*each, zero_counts=True) for each in judged],
        },
        Profile.OFFICIAL: {
            "accuracy": official,
            "accuracy, nothing extracted taken for the shortest choice": [
                mathvista_official.verdict(*each, empty_counts=True) for each in judged
            ],
        },
    }
    verdicts = figures[profile]["accuracy"]
    other = next(each for each in Profile if each != profile)
    rights = [each.correct for each in verdicts]
    fields = [MathVistaFields.of(each.item) for each in predictions]
    skills = [(skill, right) for each, right in zip(fields, rights, strict=True) for skill in each.skills]
    return Result(
        Benchmark.MATHVISTA,
        profile,
        (*_percentages(figures[profile], ""), *_percentages(figures[other], f", rules of {other}")),
        (
            *percentages_by([each.task for each in fields], rights),
            *percentages_by([skill for skill, _ in skills], [right for _, right in skills]),
        ),
        tuple(verdicts),
        count_unparsed(verdicts),
        (BY_JUDGE if extractions else BY_RULES, LEFT_OUT),
    )


def is_gold(answer: str | None, kind: AnswerType) -> bool:
    """Whether an open question's right answer can be one: a number, a list, or a text."""
    if answer is None or kind is AnswerType.TEXT:
        return answer is not None
    return (_literal(answer) if kind is AnswerType.LIST else _number(answer, kind)) is not None


def _percentages(figures: Mapping[str, Sequence[Verdict]], suffix: str) -> list[Score]:
    return [percentage(name + suffix, [each.correct for each in verdicts]) for name, verdicts in figures.items()]


def _read(text: str, prediction: Prediction, fields: MathVistaFields, zero_counts: bool) -> Verdict:
    item = prediction.item
    if fields.is_choice:
        letter = extract_option(text, item.options)
        return Verdict(item.index, letter, letter is not None and letter == fields.answer_option)
    if fields.answer_type is AnswerType.LIST:
        value = _literal(text)
        return Verdict(
            item.index,
            None if value is None else str(value),
            zero_counts and value is not None and value == _literal(item.answer or ""),
        )
    number = _number(text, fields.answer_type)
    gold = _number(item.answer or "", fields.answer_type)
    return Verdict(
        item.index,
        None if number is None else str(number),
        number is not None and number == gold and (zero_counts or number != 0),
    )


def _number(text: str, kind: AnswerType) -> int | float | None:
    """Python's own reading, so full-width digits and "1_000" are numbers, "1,000" is none and "5.0" no integer."""
    with contextlib.suppress(ValueError):
        return int(text) if kind is AnswerType.INTEGER else float(text)
    return None


def _literal(text: str) -> list[object] | None:
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        value = ast.literal_eval(text.strip())
        if isinstance(value, list):
            return value
    return None
