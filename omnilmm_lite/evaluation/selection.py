"""A part of a benchmark: the first questions, or one share of several."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring.mmbench import question_of


def select(
    benchmark: Benchmark, items: Sequence[Item], limit: int | None = None, shard: tuple[int, int] = (1, 1)
) -> list[Item]:
    """In the data's order. `limit`: at most so many questions; `shard`: the how-manieth of how many, from 1.

    What is scored together stays together and is one question here: MMBench's rotations, MME's two questions about a
    picture. The shards are disjoint, together everything, and differ by one question at most.
    """
    number, count = shard
    keys = [_together(benchmark, item) for item in items]
    order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return [
        item
        for item, key in zip(items, keys, strict=True)
        if (limit is None or order[key] < limit) and order[key] % count == number - 1
    ]


def _together(benchmark: Benchmark, item: Item) -> Hashable:
    if benchmark is Benchmark.MMBENCH:
        return question_of(item)
    if benchmark is Benchmark.MME:
        return item.category, item.group
    return item.index
