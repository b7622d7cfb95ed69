"""The benchmarks whose answers a judge reads, all of them or what rules can't read: what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark, Judge, Profile
from omnilmm_lite.evaluation.data.places import (
    AUTHORS_EXTRACTION_RUBRICS,
    KIT_EXTRACTION_RUBRICS,
    LLAVA_RUBRICS,
    MATCHING_RUBRICS,
    MMHAL_RUBRICS,
    OBJECTS_RUBRICS,
    find_beside,
)
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge import llavabench, mathvista, mmhal, multiple_choice, objhal, rubric
from omnilmm_lite.evaluation.judge.request import JudgeRequest

ALWAYS = frozenset(each for each, needs in REQUIREMENTS.items() if needs.judge is Judge.ALWAYS)
MATCHED = (Benchmark.MMBENCH, Benchmark.SEEDBENCH, Benchmark.MMMU)  # by the kit alone

Requests = Callable[[Sequence[Prediction]], list[JudgeRequest]]


@dataclass(frozen=True)
class Replies:
    """What a judge, by name, has replied: by the item's index, of those that were put to it."""

    judge: str
    texts: Mapping[str, str]


def rubric_names(benchmark: Benchmark, profile: Profile) -> tuple[str, ...]:
    """The files that may hold the judge's instruction; empty where the profile's rules ask no judge."""
    if benchmark in MATCHED and profile is Profile.VEK2402:
        return MATCHING_RUBRICS
    if benchmark is Benchmark.MATHVISTA:
        return KIT_EXTRACTION_RUBRICS if profile is Profile.VEK2402 else AUTHORS_EXTRACTION_RUBRICS
    others = {
        Benchmark.MMHAL: MMHAL_RUBRICS,
        Benchmark.LLAVABENCH: LLAVA_RUBRICS,
        Benchmark.OBJHAL: OBJECTS_RUBRICS,
    }
    return others.get(benchmark, ())


def put_to_judge(benchmark: Benchmark, profile: Profile, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """Those of the answers that the benchmark's own judge reads."""
    if benchmark in MATCHED:
        return multiple_choice.unread(benchmark, predictions)
    if benchmark is Benchmark.MATHVISTA:
        return mathvista.unread(predictions, profile)
    return objhal.unread(predictions) if benchmark is Benchmark.OBJHAL else predictions


def check_rubric(benchmark: Benchmark, profile: Profile, data: Path) -> None:
    """InputError where the judge's instruction doesn't lie beside the data, or can't be read."""
    _requests_by_rubric(benchmark, profile, data)


def judge_requests(
    benchmark: Benchmark, profile: Profile, data: Path, predictions: Sequence[Prediction]
) -> list[JudgeRequest]:
    """One for each answer that is put to the judge, in their order. InputError as of `check_rubric`."""
    return _requests_by_rubric(benchmark, profile, data)(put_to_judge(benchmark, profile, predictions))


def _requests_by_rubric(benchmark: Benchmark, profile: Profile, data: Path) -> Requests:
    names = rubric_names(benchmark, profile)
    path = find_beside(data, *names)
    if path is None:
        folder = data if data.is_dir() else data.parent
        raise InputError(
            f"{folder}: {benchmark}'s judge has no instruction there; put its authors' {' or '.join(names)} there"
        )
    if benchmark is Benchmark.MMHAL:
        template = rubric.read_mmhal_rubric(path)
        return lambda predictions: mmhal.requests(predictions, template)
    if benchmark is Benchmark.LLAVABENCH:
        rules = rubric.read_llava_rubric(path)
        return lambda predictions: llavabench.requests(predictions, rules)
    if benchmark is Benchmark.OBJHAL:
        objects = rubric.read_objects_rubric(path)
        return lambda predictions: objhal.requests(predictions, objects)
    if benchmark is Benchmark.MATHVISTA:
        by_kit = profile is Profile.VEK2402
        before = rubric.read_kit_extraction_rubric(path) if by_kit else rubric.read_authors_extraction_rubric(path)
        return lambda predictions: mathvista.requests(predictions, profile, before)
    matching = rubric.read_matching_rubric(path)
    return lambda predictions: multiple_choice.requests(benchmark, predictions, matching)
