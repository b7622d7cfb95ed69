"""MMBench: each question comes several times with its options rotated, and counts only if every time is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.scoring.multiple_choice import AS_TEXT, READINGS, verdict
from omnilmm_lite.evaluation.scoring.result import (
    LEFT_OUT,
    Result,
    Score,
    Verdict,
    count_unparsed,
    percentage,
    percentages_by,
)
from omnilmm_lite.files.json_file import shown

ROTATION = 1_000_000  # added to a question's index for each further rotation


def question_of(item: Item) -> int:
    """The index of the row that this one is a rotation of. InputError where an index is no number."""
    return _number(item) % ROTATION


def score(predictions: Sequence[Prediction], profile: Profile) -> Result:
    """Circular first: over questions whose unrotated row is there. Then vanilla: the unrotated rows alone."""
    verdicts = {each: [verdict(prediction, each) for prediction in predictions] for each in Profile}
    other = next(each for each in Profile if each != profile)
    circular = _circular(predictions, verdicts[profile])
    bases = {question_of(each.item): each.item for each in predictions if _is_base(each.item)}
    categories = [bases[question].category for question in circular]
    l2_categories = [bases[question].l2_category for question in circular]
    by_other = _circular(predictions, verdicts[other])
    notes = [LEFT_OUT, AS_TEXT]
    if stray := {question_of(each.item) for each in predictions} - set(bases):
        notes.append(f"{counted(len(stray), 'question is', 'questions are')} left out for want of the unrotated row")
    return Result(
        Benchmark.MMBENCH,
        profile,
        (
            percentage("circular", list(circular.values())),
            _vanilla("vanilla", predictions, verdicts[profile]),
            percentage(f"circular, {READINGS[other]}", list(by_other.values())),
            _vanilla(f"vanilla, {READINGS[other]}", predictions, verdicts[other]),
        ),
        (*percentages_by(l2_categories, circular.values()), *percentages_by(categories, circular.values())),
        tuple(verdicts[profile]),
        count_unparsed(verdicts[profile]),
        tuple(notes),
        tuple(Verdict(str(question), None, right) for question, right in circular.items()),
    )


def groups_of(predictions: Iterable[Prediction]) -> dict[int, list[Prediction]]:
    """A question's rotations together, by question."""
    groups: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[question_of(prediction.item)].append(prediction)
    return groups


def _circular(predictions: Iterable[Prediction], verdicts: Iterable[Verdict]) -> dict[int, bool]:
    """Whether every row of a question is right, by question, in the order of the unrotated rows."""
    rights: dict[int, list[bool]] = defaultdict(list)
    bases: list[int] = []
    for prediction, each in zip(predictions, verdicts, strict=True):
        question = question_of(prediction.item)
        rights[question].append(each.correct)
        if _is_base(prediction.item):
            bases.append(question)
    return {question: all(rights[question]) for question in bases}


def _vanilla(name: str, predictions: Iterable[Prediction], verdicts: Iterable[Verdict]) -> Score:
    pairs = zip(predictions, verdicts, strict=True)
    return percentage(name, [each.correct for prediction, each in pairs if _is_base(prediction.item)])


def _is_base(item: Item) -> bool:
    return _number(item) < ROTATION


def _number(item: Item) -> int:
    try:
        number = int(item.index)
        if number < 0:
            raise ValueError
        return number
    except ValueError:
        raise InputError(
            f"MMBench: {item.place or 'a row'} has the index {shown(item.index)}, where a number tells which rows are "
            "one question; take the file as its authors publish it"
        ) from None
