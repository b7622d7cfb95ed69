"""COCO's 80 objects and the words that name them, from the user's synonym list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.text_file import read_text

# Animals that a "baby" or "adult" before them doesn't turn into persons, and vehicles that a "passenger" doesn't.
ANIMALS = frozenset(
    {
        "animal", "bear", "bird", "cat", "cow", "cub", "dog", "elephant", "giraffe", "horse", "sheep", "zebra",
    }
)  # fmt: skip
VEHICLES = frozenset({"jet", "train"})
# Pairs that name no object, though one of their words does; and pairs that name another one.
NOT_OBJECTS = frozenset({"home plate", "train track"})
RENAMED = {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}


@dataclass(frozen=True)
class Vocabulary:
    """`objects`: the object of each word or pair of words; `pairs`: what two words that follow each other become;
    `words`: all that can matter in an answer, in the singular."""

    objects: Mapping[str, str]
    pairs: Mapping[str, str]
    words: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a list of one object a line, its name first: "dog, puppy, beagle". InputError where it is none."""
        lines = [[word.strip() for word in line.split(", ")] for line in read_text(path).splitlines() if line.strip()]
        if not lines or not all(words[0] for words in lines):
            raise InputError(
                f"{path}: this is no synonym list, which has an object a line and its names divided by commas; take "
                "RLHF-V's eval/data/synonyms_refine.txt"
            )
        return cls.of(lines)

    @classmethod
    def of(cls, lines: Iterable[list[str]]) -> Self:
        """A word on two lines names the later object, as in the public code."""
        objects = {word: words[0] for words in lines for word in words}
        pairs = {word: word for word in objects if " " in word}
        pairs |= {word: word for word in NOT_OBJECTS}
        pairs |= {f"{age} {animal}": animal for age in ("baby", "adult") for animal in ANIMALS}
        pairs |= {f"passenger {vehicle}": vehicle for vehicle in VEHICLES}
        words = {part for word in (*objects, *pairs) for part in word.split()}
        return cls(objects, pairs | RENAMED, frozenset(words))
