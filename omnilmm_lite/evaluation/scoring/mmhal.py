"""MMHal-Bench: a judge rates each answer from 0 to 6; below 3 it has found a hallucination."""

from __future__ import annotations

import re
from collections.abc import Sequence

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring.result import Result, Score, Verdict, percentage
from omnilmm_lite.evaluation.statistics import interval_of_mean

TYPES = ("attribute", "adversarial", "comparison", "counting", "relation", "environment", "holistic", "other")
BEST = 6
NO_HALLUCINATION = 3  # the lowest rating that says so
RATING = re.compile(r"rating: ([0-6])")


def parse_rating(reply: str) -> int | None:
    """The one number, 0 to 6, that follows "rating: " anywhere in any case; None where there is none or several.

    Only the next character is looked at: "Rating: 4.5" is a 4, "Rating: **4**" is none.
    """
    found = set(RATING.findall(reply.lower()))
    return int(found.pop()) if len(found) == 1 else None


def score(items: Sequence[Item], replies: Sequence[str], judge: str) -> Result:
    """`replies`: the judge's, in the items' order, which is the template's. One without a rating counts as 0.

    A question's type is told by its place in the template, which is its index. InputError where there are more
    questions than replies, or fewer.
    """
    if len(items) != len(replies):
        found = f"{counted(len(items), 'question')} and {counted(len(replies), 'reply', 'replies')}"
        raise InputError(f"MMHal-Bench: {found}; give one reply a question")
    read = [parse_rating(reply) for reply in replies]
    ratings = [rating or 0 for rating in read]
    honest = [rating >= NO_HALLUCINATION for rating in ratings]
    by_type = {
        name: [rating for item, rating in zip(items, ratings, strict=True) if int(item.index) % len(TYPES) == place]
        for place, name in enumerate(TYPES)
    }
    informative = [
        100 / 3 * (rating - NO_HALLUCINATION if good else rating) for rating, good in zip(ratings, honest, strict=True)
    ]
    return Result(
        Benchmark.MMHAL,
        Profile.OFFICIAL,
        (
            _mean("mean rating", ratings, BEST),
            percentage("without hallucination", honest),
            percentage("with hallucination", [not good for good in honest]),
            _mean("informativeness", informative, 100),
        ),
        tuple(_mean(name, values, BEST) for name, values in by_type.items() if values),
        tuple(
            Verdict(item.index, None if rating is None else str(rating), good)
            for item, rating, good in zip(items, read, honest, strict=True)
        ),
        read.count(None),
        (f"rated by {judge}; comparable only with figures of the same judge",),
    )


def _mean(name: str, values: Sequence[float], best: float) -> Score:
    return Score(name, sum(values) / max(len(values), 1), len(values), interval_of_mean(values, (0.0, best)))
