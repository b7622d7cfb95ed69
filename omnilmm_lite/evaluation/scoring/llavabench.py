"""LLaVA-Bench in the wild: a judge scores GPT-4's answer and the model's, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.official.llavabench import CATEGORIES
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring.result import Result, Score, Verdict
from omnilmm_lite.evaluation.statistics import interval_of_mean, interval_of_ratio


@dataclass(frozen=True)
class Pair:
    """A judge's two scores, 1 to 10."""

    reference: float
    model: float


TENFOLD = (-10.0, 100.0)  # ten times a score, a reply that can't be read among them
FAILED = Pair(-1.0, -1.0)  # as the kit and LLaVA count a reply that they can't read


def parse_scores(reply: str) -> Pair | None:
    """Two numbers on the first line with one blank or one comma between them, and nothing else; else None.

    A comma with a blank, a tab, or a blank at either end is not read, as published. Nor is what isn't finite.
    """
    parts = reply.split("\n", maxsplit=1)[0].replace(",", " ").split(" ")
    try:
        reference, model = (float(part) for part in parts)
    except ValueError:
        return None
    return Pair(reference, model) if math.isfinite(reference) and math.isfinite(model) else None


def score(items: Sequence[Item], replies: Sequence[str], judge: str) -> Result:
    """`replies`: the judge's, in the items' order.

    First with replies that can't be read as -1 and -1 in both means, as VLMEvalKit and LLaVA do; then without them.
    InputError where the numbers differ.
    """
    if len(items) != len(replies):
        found = f"{counted(len(items), 'question')} and {counted(len(replies), 'reply', 'replies')}"
        raise InputError(f"LLaVA-Bench: {found}; give one reply a question")
    read = [parse_scores(reply) for reply in replies]
    pairs = [pair or FAILED for pair in read]
    by_category = [
        _relative(name, [pair for item, pair in zip(items, pairs, strict=True) if item.category == name])
        for name in dict.fromkeys([*CATEGORIES, *(item.category or "" for item in items)])
    ]
    return Result(
        Benchmark.LLAVABENCH,
        Profile.VEK2402,
        (
            _relative("relative score", pairs),
            _relative("relative score, unread replies left out", [pair for pair in read if pair is not None]),
            _mean("model", [10 * pair.model for pair in pairs]),
            _mean("GPT-4", [10 * pair.reference for pair in pairs]),
        ),
        tuple(each for each in by_category if each.count),
        tuple(
            Verdict(
                item.index,
                None if pair is None else f"{pair.reference:g} {pair.model:g}",
                pair is not None and pair.model >= pair.reference,
            )
            for item, pair in zip(items, read, strict=True)
        ),
        read.count(None),
        (f"scored by {judge}; comparable only with figures of the same judge",),
    )


def _relative(name: str, pairs: Sequence[Pair]) -> Score:
    """100 x the model's mean / GPT-4's mean; 0 where that can't be told."""
    models, references = [pair.model for pair in pairs], [pair.reference for pair in pairs]
    total = sum(references)
    interval = interval_of_ratio(models, references, None)
    return Score(name, 100 * sum(models) / total if total else 0.0, len(pairs), interval and interval.scaled(100))


def _mean(name: str, values: Sequence[float]) -> Score:
    return Score(name, sum(values) / max(len(values), 1), len(values), interval_of_mean(values, TENFOLD))
