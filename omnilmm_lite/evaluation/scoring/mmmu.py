"""MMMU by both scorers: VLMEvalKit's of February 2024 and the authors' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
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
from omnilmm_lite.evaluation.statistics import interval_of_mean

VALIDATION = "validation"
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
OTHER_ANSWERS = "Other Answers"
# What the kit scored instead of an answer where a row hasn't exactly one picture.
SEVERAL_PICTURES = "[MMMU] Failed, multiple images exist while the model only support single-image generate API. "


def options_and_gold(item: Item, reading: Profile) -> tuple[Mapping[str, str], str]:
    """What the kit chooses from and what is right. A row without option A becomes a choice between the right answer,
    as a text, and OTHER_ANSWERS. A right answer that is a capital letter is taken for an option's; any other stands for
    option A, even where the row has an option A of its own."""
    found, gold = options(item, reading), item.answer if item.answer in LETTERS else "A"
    if "A" in found:
        return found, gold
    made = {**found, "A": item.answer, "B": OTHER_ANSWERS}
    return {letter: text for letter, text in sorted(made.items()) if text is not None}, gold


def text_for_kit(prediction: Prediction) -> str:
    """What the kit scored: answers about several pictures are SEVERAL_PICTURES."""
    return prediction.text if is_shown(prediction.item) else SEVERAL_PICTURES


def kit_verdict(
    prediction: Prediction, reading: Profile, *, single_pictures_only: bool, reply: str | None = None
) -> Verdict:
    """`single_pictures_only`: answers about several pictures count as SEVERAL_PICTURES, as the card's did. `reply`: a
    judge's, used where the answer alone doesn't decide."""
    item = prediction.item
    found, gold = options_and_gold(item, reading)
    extracted = extract_option(text_for_kit(prediction) if single_pictures_only else prediction.text, found)
    if extracted is None and reply is not None:
        extracted = extract_option(reply, found)
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
    validation = [each for each in zip(items, verdicts, strict=True) if each[0].split in (None, VALIDATION)]
    rights = [each.correct for _, each in validation]
    notes = [LEFT_OUT, AS_TEXT]
    if several := sum(not is_shown(item) for item in items):
        notes.append(
            f"{counted(several, 'row')} without exactly one picture in a list: the kit scored a fixed sentence there"
        )
    return Result(
        Benchmark.MMMU,
        profile,
        tuple(scores),
        (
            *percentages_by([item.l2_category for item, _ in validation], rights),
            *percentages_by([item.category for item, _ in validation], rights),
        ),
        tuple(verdicts),
        count_unparsed(verdicts),
        tuple(notes),
        tuple(each for _, each in validation),
    )


def judged_scores(predictions: Sequence[Prediction], replies: Mapping[str, str]) -> list[Score]:
    """The kit's figures, by split, with a judge's `replies`, by index, where its rules read nothing."""
    verdicts = [
        kit_verdict(each, Profile.VEK2402, single_pictures_only=True, reply=replies.get(each.item.index))
        for each in predictions
    ]
    return _by_split("kit", [each.item for each in predictions], verdicts)


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
    mean, interval = sum(points) / max(len(points), 1), interval_of_mean(points, (0.0, 100.0))
    return Score("official, a guess where a choice can't be read", mean, len(points), interval)
