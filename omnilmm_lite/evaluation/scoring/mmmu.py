"""MMMU by both scorers: VLMEvalKit's of February 2024 and the authors' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import NOT_A_LIST, Item, Prediction
from omnilmm_lite.evaluation.scoring import mmmu_official
from omnilmm_lite.evaluation.scoring.multiple_choice import AS_TEXT, READINGS, options
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

VALIDATION = "validation"
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
OTHER_ANSWERS = "Other Answers"
# What the kit scored instead of an answer where a row hasn't exactly one picture.
SEVERAL_PICTURES = "[MMMU] Failed, multiple images exist while the model only support single-image generate API. "


def options_and_gold(item: Item, reading: Profile) -> tuple[Mapping[str, str], str | None]:
    """What the kit chooses from and what is right. A row without option A becomes a choice between the right answer,
    as a text, and OTHER_ANSWERS; a right answer that is itself a capital letter is still taken for an option's."""
    found = options(item, reading)
    if "A" in found or item.answer is None:
        return found, item.answer
    made = {**found, "A": item.answer, "B": OTHER_ANSWERS}
    return dict(sorted(made.items())), item.answer if item.answer in LETTERS else "A"


def kit_verdict(prediction: Prediction, reading: Profile, *, single_pictures_only: bool) -> Verdict:
    """`single_pictures_only`: answers about several pictures count as SEVERAL_PICTURES, as the card's did."""
    item = prediction.item
    found, gold = options_and_gold(item, reading)
    text = SEVERAL_PICTURES if single_pictures_only and not is_shown(item) else prediction.text
    extracted = extract_option(text, found)
    return Verdict(item.index, extracted, extracted is not None and extracted == gold)


def score(predictions: Sequence[Prediction], profile: Profile) -> Result:
    """The validation rows first, where the data names splits, else all of them.

    Of the kit's scorer there are two figures: with its way of failing on several pictures, and without.
    """
    with_fault = [kit_verdict(each, Profile.VEK2402, single_pictures_only=True) for each in predictions]
    without = [kit_verdict(each, Profile.OFFICIAL, single_pictures_only=False) for each in predictions]
    official = [mmmu_official.verdict(each) for each in predictions]
    if profile is Profile.VEK2402:
        verdicts, first, second = with_fault, "kit", "official"
        others = official
    else:
        verdicts, first, second = official, "official", "kit"
        others = with_fault
    items = [each.item for each in predictions]
    scores = [
        *_by_split(first, items, verdicts),
        *_by_split(second, items, others),
        *_by_split(f"kit, several pictures answered, {READINGS[Profile.OFFICIAL]}", items, without),
        _with_guesses(items, official),
    ]
    counted = [each for each in zip(items, verdicts, strict=True) if each[0].split in (None, VALIDATION)]
    rights = [each.correct for _, each in counted]
    notes = [LEFT_OUT, AS_TEXT]
    if several := sum(not is_shown(item) for item in items):
        notes.append(f"{several} rows haven't exactly one picture in a list; the kit scored a fixed sentence for them")
    return Result(
        Benchmark.MMMU,
        profile,
        tuple(scores),
        (
            *percentages_by([item.l2_category for item, _ in counted], rights),
            *percentages_by([item.category for item, _ in counted], rights),
        ),
        tuple(verdicts),
        count_unparsed(verdicts),
        tuple(notes),
        tuple(each for _, each in counted),
    )


def is_shown(item: Item) -> bool:
    """Whether the kit asked the model about the row at all: it has exactly one picture, in a list."""
    return len(item.pictures) == 1 and NOT_A_LIST not in item.attributes


def _by_split(name: str, items: Sequence[Item], verdicts: Sequence[Verdict]) -> list[Score]:
    rights: dict[str | None, list[bool]] = {}
    for item, each in zip(items, verdicts, strict=True):
        rights.setdefault(item.split, []).append(each.correct)
    splits = sorted(rights, key=lambda split: (split != VALIDATION, split or ""))
    return [percentage(name if split is None else f"{name}, {split}", rights[split]) for split in splits]


def _with_guesses(items: Sequence[Item], official: Sequence[Verdict]) -> Score:
    """The official script guesses where it can't read a choice; what that gives on average is added here."""
    points = [
        100.0 * each.correct if each.extracted is not None or not item.options else 100.0 / len(item.options)
        for item, each in zip(items, official, strict=True)
        if item.split in (None, VALIDATION)
    ]
    return Score("official, a guess where a choice can't be read", sum(points) / max(len(points), 1), len(points), None)
