"""A question as it is put to the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.prompts import build_prompt

RANKED = frozenset({Benchmark.MMBENCH, Benchmark.MMMU, Benchmark.SEEDBENCH, Benchmark.MATHVISTA})


@dataclass(frozen=True)
class Question:
    """`letters`: the options that the prompt names, where they can be ranked without an answer; else empty."""

    item: Item
    prompt: str
    letters: tuple[str, ...] = ()


def make_questions(benchmark: Benchmark, items: Iterable[Item], profile: Profile) -> list[Question]:
    """In the items' order. InputError where a row lacks what its prompt is made of."""
    return [
        Question(item, build_prompt(benchmark, item, profile), _letters(benchmark, item, profile)) for item in items
    ]


def by_picture(questions: Sequence[Question]) -> list[list[Question]]:
    """Questions about the same picture together, pictures in the order in which they first come.

    Every picture is then encoded once, and what a prompt says up to the picture's end is run once.
    """
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.item.pictures[0].key if question.item.pictures else "", []).append(question)
    return list(groups.values())


def picture_bytes(question: Question) -> bytes:
    """The file of its picture, of several the first: the model takes one. InputError where there is none."""
    if not question.item.pictures:
        raise InputError("picture: the row has none")
    return question.item.pictures[0].read()


def _letters(benchmark: Benchmark, item: Item, profile: Profile) -> tuple[str, ...]:
    if benchmark not in RANKED:
        return ()
    if benchmark is Benchmark.MATHVISTA:
        return tuple(item.options)
    options = item.options if profile is Profile.OFFICIAL else item.options_of_kit
    return tuple(options)
