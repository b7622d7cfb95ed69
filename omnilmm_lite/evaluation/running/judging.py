"""The benchmarks whose answers a judge reads: what it is asked, and what comes of its replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.places import LLAVA_RUBRICS, MMHAL_RUBRICS, find_beside
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.judge import llavabench as llava_judge
from omnilmm_lite.evaluation.judge import mmhal as mmhal_judge
from omnilmm_lite.evaluation.judge.request import JudgeRequest
from omnilmm_lite.evaluation.judge.rubric import read_llava_rubric, read_mmhal_rubric
from omnilmm_lite.evaluation.scoring import llavabench, mmhal
from omnilmm_lite.evaluation.scoring.result import Result

RUBRICS = {Benchmark.MMHAL: MMHAL_RUBRICS, Benchmark.LLAVABENCH: LLAVA_RUBRICS}
NOT_COMPARABLE = "judged by {judge}: not comparable with published figures, which GPT-4 gave"


def check_rubric(benchmark: Benchmark, data: Path) -> None:
    """InputError where the judge's instruction doesn't lie beside the data, or can't be read."""
    _requests_by_rubric(benchmark, data)


def judge_requests(benchmark: Benchmark, data: Path, predictions: Sequence[Prediction]) -> list[JudgeRequest]:
    """One a prediction, in their order. InputError as of `check_rubric`."""
    return _requests_by_rubric(benchmark, data)(predictions)


def score_replies(benchmark: Benchmark, items: Sequence[Item], replies: Sequence[str], judge: str) -> Result:
    """`replies` in the items' order. `judge` is named in the notes."""
    score = mmhal.score if benchmark is Benchmark.MMHAL else llavabench.score
    return score(items, replies, judge)


def _requests_by_rubric(benchmark: Benchmark, data: Path) -> Callable[[Sequence[Prediction]], list[JudgeRequest]]:
    names = RUBRICS[benchmark]
    rubric = find_beside(data, *names)
    if rubric is None:
        folder = data if data.is_dir() else data.parent
        raise InputError(
            f"{folder}: {benchmark}'s judge has no instruction there; put its authors' {' or '.join(names)} there"
        )
    if benchmark is Benchmark.MMHAL:
        text = read_mmhal_rubric(rubric)
        return lambda predictions: mmhal_judge.requests(predictions, text)
    rules = read_llava_rubric(rubric)
    return lambda predictions: llava_judge.requests(predictions, rules)
