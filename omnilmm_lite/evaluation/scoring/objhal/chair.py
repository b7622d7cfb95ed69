"""CHAIR (Rohrbach et al. 2018) as RLHF-V counts it without GPT: the share of answers, and of named objects, that are
hallucinated.

Of the two public versions this is RLHF-V's: WordNet's singulars, the pairs of its own list, and for the first figure
only answers that name an object at all. WordNet itself isn't needed, since only words of the list matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.scoring.objhal.vocabulary import Vocabulary
from omnilmm_lite.evaluation.scoring.objhal.words import singular, split_words
from omnilmm_lite.evaluation.scoring.result import Result, Score, Verdict
from omnilmm_lite.evaluation.statistics import Interval, interval_of_ratio

ROLE = "Assistant:"
NOTES = (
    "offline CHAIR, RLHF-V's without GPT: to compare two versions of a model, not with published figures, for which "
    "GPT-3.5 extracts the objects",
    "singulars by rules on the synonym list's own words, in place of WordNet's",
)


@dataclass(frozen=True)
class Mentions:
    """The objects that an answer names, in its order, each mention one; and those that aren't in the picture."""

    objects: tuple[str, ...]
    hallucinated: tuple[str, ...]


def find_objects(text: str, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Each word or pair of words that names an object, and which object it names."""
    words = [singular(word, vocabulary.words) for word in split_words(text)]
    merged = list(_merged(words, vocabulary.pairs))
    if "toilet" in merged:
        merged = [word for word in merged if word != "seat"]  # the toilet's own, not a chair
    return [(word, vocabulary.objects[word]) for word in merged if word in vocabulary.objects]


def mentions(text: str, present: AbstractSet[str], vocabulary: Vocabulary) -> Mentions:
    """`present`: the objects that are in the picture."""
    found = [name for _, name in find_objects(text.replace(ROLE, "").strip(), vocabulary)]
    return Mentions(tuple(found), tuple(name for name in found if name not in present))


def objects_present(categories: Iterable[str], captions: Iterable[str], vocabulary: Vocabulary) -> frozenset[str]:
    """What is in a picture: its annotated categories and what people named in their captions of it.

    InputError where the synonym list lacks a category.
    """
    names = set(categories)
    if missing := names - vocabulary.objects.keys():
        raise InputError(f"the synonym list lacks COCO's {min(missing)!r}; take the one that RLHF-V publishes")
    annotated = {vocabulary.objects[name] for name in names}
    return frozenset(annotated.union(name for caption in captions for _, name in find_objects(caption, vocabulary)))


def score(predictions: Sequence[Prediction], present: Mapping[str, AbstractSet[str]], vocabulary: Vocabulary) -> Result:
    """`present`: the objects in each picture, by the item's index. An answer that names no object is unparsed, and
    counts in neither figure."""
    found = [mentions(each.text, present[each.item.index], vocabulary) for each in predictions]
    named = [float(bool(each.objects)) for each in found]
    with_fault = [float(bool(each.hallucinated)) for each in found]
    objects = [float(len(each.objects)) for each in found]
    hallucinated = [float(len(each.hallucinated)) for each in found]
    chair_s = _rate("CHAIRs", with_fault, named)
    chair_i = _rate("CHAIRi", hallucinated, objects)
    recalled = [float(len(set(each.objects) - set(each.hallucinated))) for each in found]
    return Result(
        Benchmark.OBJHAL,
        Profile.OFFICIAL,
        (
            _complement("answers without hallucination", chair_s),
            _complement("objects without hallucination", chair_i),
            chair_s,
            chair_i,
            _rate("CHAIRs over all answers, as its authors count", with_fault, [1.0] * len(found)),
            _rate("recall of objects", recalled, [float(len(present[each.item.index])) for each in predictions]),
        ),
        (),
        tuple(
            Verdict(each.item.index, ", ".join(one.objects) or None, bool(one.objects) and not one.hallucinated)
            for each, one in zip(predictions, found, strict=True)
        ),
        len(found) - int(sum(named)),
        NOTES,
    )


def _merged(words: Sequence[str], pairs: Mapping[str, str]) -> Iterable[str]:
    """Pairs from the left; a word belongs to one at most."""
    remaining = iter(range(len(words)))
    for place in remaining:
        pair = " ".join(words[place : place + 2])
        if pair in pairs:
            next(remaining, None)
            yield pairs[pair]
        else:
            yield words[place]


def _rate(name: str, above: Sequence[float], below: Sequence[float]) -> Score:
    """In percent; 0 where nothing was counted."""
    total = sum(below)
    ratio = interval_of_ratio(above, below)
    interval = None if ratio is None else Interval(100 * ratio.error, 100 * ratio.low, 100 * ratio.high)
    return Score(name, 100 * sum(above) / total if total else 0.0, round(total), interval)


def _complement(name: str, rate: Score) -> Score:
    interval = rate.interval and Interval(rate.interval.error, 100 - rate.interval.high, 100 - rate.interval.low)
    return Score(name, 100 - rate.value, rate.count, interval)
