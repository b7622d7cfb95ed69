"""How an endpoint says an answer: the seam between the queue and the APIs that are spoken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omnilmm_lite.answer.generation import Timings
from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished, RequestPhase, TextDelta
from omnilmm_lite.serve.request.answer_request import AnswerRequest

EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Choice:
    """One of the answers to a request, whole. `tokens`: with their log-probabilities, where these were asked for."""

    text: str
    tokens: tuple[SaidToken, ...]
    finished: Finished


class AnswerForm(Protocol):
    """An answer in the shape of one API, made for one request: whole, or piece by piece. Pieces may be empty.

    A stream is `phase` any number of times, `begin`, for each choice its `delta`s and `choice_end`, and `end`; or,
    where it breaks off, `error`.
    """

    @property
    def id(self) -> str:
        """As the log names the answer."""
        ...

    @property
    def content_type(self) -> str:
        """Of a stream."""
        ...

    @property
    def still_here(self) -> bytes:
        """What a stream may hold between any two pieces, and means nothing: it is sent to see whether the client, who
        sends no more, is there."""
        ...

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]: ...

    def phase(self, phase: RequestPhase, place: int) -> bytes:
        """What is waited for; `place` in the queue, from 1."""
        ...

    def begin(self) -> bytes: ...

    def delta(self, index: int, delta: TextDelta) -> bytes: ...

    def choice_end(self, index: int, finished: Finished) -> bytes: ...

    def end(self, finished: Sequence[Finished]) -> bytes: ...

    def error(self, error: ApiError) -> bytes:
        """The end of a stream that breaks off, whether it has begun or not."""
        ...


def summed(finished: Sequence[Finished]) -> Timings:
    """Seconds and tokens of all choices together."""
    total = Timings()
    for each in finished:
        for field in dataclasses.fields(Timings):
            setattr(total, field.name, getattr(total, field.name) + getattr(each.timings, field.name))
    return total


def warned(request: AnswerRequest) -> dict[str, str]:
    """The request's warnings under an answer's `warning`, an extension; nothing where there are none."""
    return {} if request.warning is None else {"warning": request.warning}


def timings(finished: Sequence[Finished]) -> dict[str, float]:
    """Where the time went, by name, of all choices together: an extension, which other clients pass over."""
    return summed(finished).as_json(
        queue_s=sum(each.queue_s for each in finished),
        load_s=sum(each.load_s for each in finished),
        vision_s=sum(each.vision_s for each in finished),
    )
