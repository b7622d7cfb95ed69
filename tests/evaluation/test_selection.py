"""Parts of a benchmark keep together what is scored together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.selection import select

ROTATED = [Item(str(question + rotation * 1_000_000), "?") for rotation in range(4) for question in range(1, 8)]
PAIRS = [
    Item(f"{task}{picture}{n}", "?", category=task, group=str(picture))
    for n in range(2)
    for task in ("color", "OCR")
    for picture in range(5)
]


def test_a_limit_counts_questions() -> None:
    found = select(Benchmark.MMBENCH, ROTATED, limit=2)
    assert [item.index for item in found] == [str(q + r * 1_000_000) for r in range(4) for q in (1, 2)]
    assert [item.index for item in select(Benchmark.MME, PAIRS, limit=1)] == ["color00", "color01"]
    assert select(Benchmark.OBJHAL, PAIRS, limit=3) == PAIRS[:3]


@given(st.integers(1, 9), st.sampled_from([(Benchmark.MMBENCH, ROTATED), (Benchmark.MME, PAIRS)]))
def test_shards_are_disjoint_and_everything(count: int, data: tuple[Benchmark, list[Item]]) -> None:
    benchmark, items = data
    shards = [select(benchmark, items, shard=(number, count)) for number in range(1, count + 1)]
    assert sorted(item.index for shard in shards for item in shard) == sorted(item.index for item in items)
    each = 4 if benchmark is Benchmark.MMBENCH else 2
    assert all(len(shard) % each == 0 for shard in shards)
    assert max(map(len, shards)) - min(map(len, shards)) <= each
