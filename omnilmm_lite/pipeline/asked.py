"""What goes into the pipeline, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from omnilmm_lite.answer.generation import Answer
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.sampling_params import SamplingParams

T = TypeVar("T")


@dataclass(frozen=True)
class Query:
    """One question: the whole prompt's token ids, with places for the picture if it has one. `cuts_at_picture`: see
    `Answer`."""

    ids: list[int]
    params: SamplingParams
    cuts_at_picture: bool = False


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A picture, or none, and the questions about it; without any it comes out again in its turn."""

    what: T
    picture: PreparedImage | None = None
    queries: Sequence[Query] = ()


@dataclass(frozen=True)
class Answered(Generic[T]):
    """`answers`: to each of the questions, at its end, or what is wrong with the question."""

    what: T
    vision_s: float
    answers: list[Answer | InputError]
