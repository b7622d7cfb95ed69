"""Is the data what the benchmark's authors publish? Answered before a model is loaded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.data_set import MOST_NAMED, DataSet, Problem
from omnilmm_lite.evaluation.golds import wrong_gold
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring.mmbench import ROTATION, question_of
from omnilmm_lite.evaluation.scoring.mme import COGNITION, PERCEPTION
from omnilmm_lite.evaluation.scoring.mmhal import TYPES
from omnilmm_lite.evaluation.scoring.mmmu import VALIDATION
from omnilmm_lite.files.json_file import shown
from omnilmm_lite.picture.reading import load_image

MMMU_SUBJECTS, MMMU_QUESTIONS = 30, 900  # of the validation split


def check(data: DataSet) -> list[Problem]:
    """What the reader found, then what differs from the published data. Opens no picture.

    InputError where a row can't be scored at all: now, and not behind hours of answers.
    """
    found = [*data.problems, *_doubles(data.items)]
    expected = REQUIREMENTS[data.benchmark].rows
    if expected is not None and len(data.items) != expected:
        found.append(Problem("all", f"{counted(len(data.items), 'row')}, where the published file has {expected}"))
    golds = ((item.place, wrong_gold(data.benchmark, item)) for item in data.items)
    found += [Problem(place, wrong) for place, wrong in golds if wrong is not None]
    own = OWN.get(data.benchmark)
    return found + (list(own(data.items)) if own else [])


def check_pictures(items: Iterable[Item]) -> Iterator[Problem]:
    """Those that can't be read; each is decoded once, which takes a while."""
    seen: set[str] = set()
    for item in items:
        for picture in item.pictures:
            if picture.key in seen:
                continue
            seen.add(picture.key)
            try:
                load_image(picture.read())
            except InputError as error:
                yield Problem(item.place, str(error))


def _doubles(items: Sequence[Item]) -> Iterator[Problem]:
    places: dict[str, list[str]] = defaultdict(list)
    for item in items:
        places[item.index].append(item.place)
    for index, found in places.items():
        if len(found) > 1:
            yield Problem(found[1], f"the index {shown(index)} is that of {found[0]} too")


def _mme(items: Sequence[Item]) -> Iterator[Problem]:
    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        tasks[item.category or ""][item.group or ""] += 1
    for name in (*PERCEPTION, *COGNITION):
        if name not in tasks:
            yield Problem(f"task {name}", "it is missing")
    for name in sorted(tasks.keys() - {*PERCEPTION, *COGNITION}):
        yield Problem(f"task {name}", "MME has none of this name, so it counts in no sum")
    for name, pictures in tasks.items():
        if odd := [picture for picture, count in pictures.items() if count != 2]:
            yield Problem(
                f"task {name}", f"{counted(len(odd), 'picture has', 'pictures have')} not two questions: {_some(odd)}"
            )


def _mmbench(items: Sequence[Item]) -> Iterator[Problem]:
    """A question is there once for each of its options, rotated by one each time."""
    rotations: dict[int, dict[int, Item]] = defaultdict(dict)
    for item in items:
        rotations[question_of(item)][int(item.index) // ROTATION] = item
    stray = [str(question) for question, found in rotations.items() if 0 not in found]
    if stray:
        yield Problem("all", f"no unrotated row of {counted(len(stray), 'question')}: {_some(stray)}")
    short = [
        str(question) for question, found in rotations.items() if 0 in found and len(found) != len(found[0].options)
    ]
    if short:
        yield Problem(
            "all",
            f"not there once for each option: {counted(len(short), 'question')}: {_some(short)}; is this version 1.0?",
        )


def _mmmu(items: Sequence[Item]) -> Iterator[Problem]:
    validation = [item for item in items if item.split in (None, VALIDATION)]
    subjects = {item.category for item in validation}
    if len(validation) != MMMU_QUESTIONS:
        yield Problem("all", f"{counted(len(validation), 'validation question')}, where MMMU has {MMMU_QUESTIONS}")
    if len(subjects) != MMMU_SUBJECTS:
        yield Problem("all", f"{counted(len(subjects), 'subject')}, where MMMU has {MMMU_SUBJECTS}")


def _mmhal(items: Sequence[Item]) -> Iterator[Problem]:
    for item in items:
        wanted = TYPES[int(item.index) % len(TYPES)]  # by its place in the template, whatever was left out
        if item.category != wanted:
            yield Problem(
                item.place,
                f"its question is of the type {shown(item.category)}, where {wanted} stands in "
                "the template; the order may not change",
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


OWN: dict[Benchmark, Callable[[Sequence[Item]], Iterator[Problem]]] = {
    Benchmark.MME: _mme,
    Benchmark.MMBENCH: _mmbench,
    Benchmark.MMMU: _mmmu,
    Benchmark.MMHAL: _mmhal,
}
