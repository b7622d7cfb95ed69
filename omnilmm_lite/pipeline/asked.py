"""What goes into the pipeline, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from omnilmm_lite.answer.generation import Answer, Prompt, TextModel
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.prepared_image import PreparedImage

T = TypeVar("T")

# Makes the answer to a prompt over the model that it is given. InputError where that can't be.
MakeAnswer: TypeAlias = Callable[[TextModel, Prompt], Answer]


@dataclass(frozen=True)
class Query:
    """One question: the whole prompt's token ids, with places for the picture if it has one."""

    ids: list[int]
    make: MakeAnswer


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A picture, or none, and the questions about it; without any it comes out again in its turn."""

    what: T
    picture: PreparedImage | None = None
    queries: Sequence[Query] = ()


@dataclass
class Answered(Generic[T]):
    """`answers`: each one's to its question, at its end, or what is wrong with the question."""

    what: T
    vision_s: float
    answers: list[Answer | InputError] = field(default_factory=list)
