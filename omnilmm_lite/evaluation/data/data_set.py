"""A benchmark's data as it was read: its questions, and what was wrong with its rows."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown

MOST_NAMED = 5  # of several places, in one line


@dataclass(frozen=True)
class Problem:
    """Something about the data that a user should know."""

    place: str  # "line 12", "task existence", ...
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True)
class DataSet:
    """Rows that can't be used aren't among `items`, but among `problems`."""

    benchmark: Benchmark
    path: Path
    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()


class RowError(Exception):
    """A row can't be used. Its text says why; who reads the file knows the place."""


class Rows:
    """Gathers items, and problems where making an item raises RowError."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.problems: list[Problem] = []

    def add(self, place: str, make: Callable[[], Item | None]) -> None:
        """None is a row that isn't of this benchmark, such as a video's."""
        try:
            item = make()
            if item is not None:
                _check(item)
        except RowError as error:
            self.problems.append(Problem(place, str(error)))
        else:
            if item is not None:
                self.items.append(item)

    def data_set(self, benchmark: Benchmark, path: Path) -> DataSet:
        """InputError where not one row can be used."""
        if not self.items:
            first = f"; {self.problems[0]}" if self.problems else ""
            raise InputError(f"{path}: there is no row of {benchmark} in it{first}; give the benchmark's own file")
        return DataSet(benchmark, path, tuple(self.items), tuple(self.problems))


def option_letters(texts: Sequence[str]) -> dict[str, str]:
    """Options by letter, from A. RowError where the alphabet is too short."""
    if len(texts) > len(string.ascii_uppercase):
        raise RowError(f"it has {len(texts)} options, more than there are letters")
    return dict(zip(string.ascii_uppercase, texts, strict=False))


def _check(item: Item) -> None:
    if not item.index.strip():
        raise RowError("it has no index")
    if not item.question.strip():
        raise RowError("it has no question")


def text_field(row: Mapping[str, Any], name: str) -> str:
    """A text, or a number as text. RowError where the row has neither under this name."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(f"{name!r} is {shown(value)}, where a text is needed")
    return str(value)


def text_list(row: Mapping[str, Any], name: str) -> list[str]:
    """RowError where it is no list of texts."""
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RowError(f"{name!r} is {shown(value)}, where a list of texts is needed")
    return value
