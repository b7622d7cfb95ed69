"""One benchmark of a run: its data, opened and checked, and the questions that are taken of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.checks import check
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.data_set import MOST_NAMED, Problem
from omnilmm_lite.evaluation.data.opening import open_data
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.golds import refuse_without_golds
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.running.question import Question, make_questions
from omnilmm_lite.evaluation.selection import select


@dataclass(frozen=True)
class Part:
    """Of a benchmark's questions: see `select`."""

    limit: int | None = None
    shard: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        first = "" if self.limit is None else f"the first {counted(self.limit, 'question')}"
        shard = "" if self.shard == (1, 1) else f"shard {self.shard[0]} of {self.shard[1]}"
        return ", ".join(filter(None, (first, shard)))


@dataclass(frozen=True)
class Session:
    """`problems` are those of all the data, whatever part of it is taken."""

    benchmark: Benchmark
    path: Path
    problems: tuple[Problem, ...]
    questions: tuple[Question, ...]


def open_session(benchmark: Benchmark, path: Path, profile: Profile, part: Part) -> Session:
    """Reads and checks the data; no picture is opened. InputError where it is none, nothing is left of it, or not one
    of its right answers or pictures is there.

    Of rows with one index the first is taken; the others are among the problems, as `check` names them.
    """
    data = open_data(benchmark, path)
    refuse_without_golds(benchmark, data.items)
    items = select(benchmark, _first_of_each(data.items), part.limit, part.shard)
    if not items:
        raise InputError(f"{path}: there is no question in this part; give a larger --limit or another --shard")
    return Session(
        benchmark, path, (*check(data), *_missing_files(items, path)), tuple(make_questions(benchmark, items, profile))
    )


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/4" -> (2, 4). InputError where it is none."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return int(found[1]), int(found[2])
    raise InputError(f"--shard: {text!r} is none; give one like 2/4, the second of four")


def some_problems(problems: Sequence[Problem]) -> list[str]:
    """A line each for the first few, and one about the rest."""
    lines = [str(each) for each in problems[:MOST_NAMED]]
    more = len(problems) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _missing_files(items: Sequence[Item], path: Path) -> list[Problem]:
    """Pictures with files of their own that aren't there."""
    files = {picture.path for item in items for picture in item.pictures if isinstance(picture, FilePicture)}
    missing = sorted(file for file in files if not os.path.isfile(file))  # noqa: PTH113 - False for names that can't be
    if missing and len(missing) == len(files):
        raise InputError(f"{path}: not one of its pictures is there, such as {missing[0]}; put them there")
    return (
        [Problem("pictures", f"{counted(len(missing), 'is', 'are')} missing, such as {missing[0]}")] if missing else []
    )


def _first_of_each(items: Sequence[Item]) -> list[Item]:
    found: dict[str, Item] = {}
    for item in items:
        found.setdefault(item.index, item)
    return list(found.values())
