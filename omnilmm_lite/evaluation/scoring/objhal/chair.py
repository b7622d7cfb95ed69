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
from omnilmm_lite.evaluation.scoring.result import Result, Score, Verdict, percentage
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


def cleaned(answer: str) -> str:
    """As it is scored."""
    return answer.replace(ROLE, "").strip()


def find_objects(text: str, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Each word or pair of words that names an object, and which object it names."""
    words = [singular(word, vocabulary.words) for word in split_words(text)]
    merged = [word for word, _ in _merged(words, vocabulary.pairs)]
    if "toilet" in merged:
        merged = [word for word in merged if word != "seat"]  # the toilet's own, not a chair
    return [(word, vocabulary.objects[word]) for word in merged if word in vocabulary.objects]


def mentions(text: str, present: AbstractSet[str], vocabulary: Vocabulary) -> Mentions:
    """`present`: the objects that are in the picture."""
    return _mentions(find_objects(cleaned(text), vocabulary), present)


def find_named(names: Iterable[str], vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """What `find_objects` gives, of names that a judge has extracted: each word once.

    A name is the pairs in it, or else its last word. RLHF-V takes runs of nouns there, which spaCy's model marks.
    """
    words: list[str] = []
    for name in names:
        parts = [singular(word, vocabulary.words) for word in split_words(name)]
        pairs = [word for word, is_pair in _merged(parts, vocabulary.pairs) if is_pair]
        words += pairs or parts[-1:]
    found = list(dict.fromkeys(words))
    if "toilet" in found:
        found = [word for word in found if word != "seat"]
    return [(word, vocabulary.objects[word]) for word in found if word in vocabulary.objects]


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
    return Result(
        Benchmark.OBJHAL,
        Profile.OFFICIAL,
        _figures(predictions, found, present),
        (),
        tuple(
            Verdict(each.item.index, ", ".join(one.objects) or None, bool(one.objects) and not one.hallucinated)
            for each, one in zip(predictions, found, strict=True)
        ),
        sum(not each.objects for each in found),
        NOTES,
    )


def judged_scores(
    predictions: Sequence[Prediction],
    present: Mapping[str, AbstractSet[str]],
    vocabulary: Vocabulary,
    names: Mapping[str, Sequence[str]],
) -> tuple[Score, ...]:
    """The same figures where a judge has said what each answer names: `names`, by index; absent ones name nothing."""
    indices = [each.item.index for each in predictions]
    found = [_mentions(find_named(names.get(index, ()), vocabulary), present[index]) for index in indices]
    return _figures(predictions, found, present)


def _mentions(found: Iterable[tuple[str, str]], present: AbstractSet[str]) -> Mentions:
    objects = tuple(name for _, name in found)
    return Mentions(objects, tuple(name for name in objects if name not in present))


def _figures(
    predictions: Sequence[Prediction], found: Sequence[Mentions], present: Mapping[str, AbstractSet[str]]
) -> tuple[Score, ...]:
    with_fault = [bool(each.hallucinated) for each in found]
    objects = [float(len(each.objects)) for each in found]
    hallucinated = [float(len(each.hallucinated)) for each in found]
    chair_s = percentage("CHAIRs", [bool(each.hallucinated) for each in found if each.objects])
    chair_i = _rate("CHAIRi", hallucinated, objects)
    recalled = [float(len(set(each.objects) - set(each.hallucinated))) for each in found]
    return (
        _complement("answers without hallucination", chair_s),
        _complement("objects without hallucination", chair_i),
        chair_s,
        chair_i,
        percentage("CHAIRs over all answers, as its authors count", with_fault),
        _rate("recall of objects", recalled, [float(len(present[each.item.index])) for each in predictions]),
    )


def _merged(words: Sequence[str], pairs: Mapping[str, str]) -> Iterable[tuple[str, bool]]:
    """Pairs from the left, each word in one at most; and whether it is one."""
    remaining = iter(range(len(words)))
    for place in remaining:
        pair = " ".join(words[place : place + 2])
        if pair in pairs:
            next(remaining, None)
            yield pairs[pair], True
        else:
            yield words[place], False


def _rate(name: str, above: Sequence[float], below: Sequence[float]) -> Score:
    """In percent; 0 where nothing was counted."""
    total = sum(below)
    interval = interval_of_ratio(above, below, (0.0, 1.0))
    return Score(name, 100 * sum(above) / total if total else 0.0, round(total), interval and interval.scaled(100))


def _complement(name: str, rate: Score) -> Score:
    interval = rate.interval and Interval(rate.interval.error, 100 - rate.interval.high, 100 - rate.interval.low)
    return Score(name, 100 - rate.value if rate.count else 0.0, rate.count, interval)
