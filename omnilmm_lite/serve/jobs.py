"""What the queue holds, and what is heard of it: a task on its way to an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from omnilmm_lite.answer.generation import FinishReason, Timings
from omnilmm_lite.answer.grammar import Grammar
from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.engine.interrupt import Interrupt
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError

if TYPE_CHECKING:
    from omnilmm_lite.model import Model


class RequestPhase(Enum):
    """What a request waits for, by the name that streams say."""

    QUEUED = "queued"
    LOAD = "load"
    ENCODE = "encode"
    PREFILL = "prefill"


@dataclass(frozen=True)
class Task:
    """A question that was checked: nothing of it can be wrong any more. Without `ids` the model is only loaded."""

    ids: list[int]
    image: PreparedImage | None
    params: SamplingParams
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None
    keep_s: float | None = None  # how long the model stays in memory after it; None: as the server was told
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None  # None: no log-probabilities
    continues: bool = False  # the answer goes on with a text, white space and all
    more: tuple[Task, ...] = ()  # answers to be made after it for the same client; none of them has more
    lend: Callable[[Model], None] | None = None  # who has the model in its place, until it returns


@dataclass(frozen=True)
class Started:
    phase: RequestPhase


@dataclass(frozen=True)
class TextDelta:
    """`tokens`: those that made the text certain, where their log-probabilities were asked for."""

    text: str
    tokens: tuple[SaidToken, ...] = ()


@dataclass(frozen=True)
class Finished:
    """Seconds in the queue and for the picture (0: it was remembered), then generation's own timings. `load_s`: for
    the model (0: it was in memory)."""

    reason: FinishReason
    queue_s: float
    vision_s: float
    timings: Timings
    load_s: float = 0.0


@dataclass(frozen=True)
class Failed:
    error: ApiError


Event: TypeAlias = Started | TextDelta | Finished | Failed


@dataclass(eq=False)
class QueuedTask:
    """A task on its way. `listen` is called in the model's thread."""

    client: str
    task: Task
    listen: Callable[[Event], None]
    interrupt: Interrupt = field(default_factory=Interrupt)
    came_at: float = field(default_factory=time.perf_counter)
