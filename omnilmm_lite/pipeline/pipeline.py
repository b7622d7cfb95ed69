"""The pipeline: pictures come in, answers go out, in the pictures' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from omnilmm_lite.answer.batch import AnswerBatch, Ended, Seat
from omnilmm_lite.answer.generation import Answer, Prompt, TextModel
from omnilmm_lite.engine.interrupt import Interrupted
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.pipeline.asked import Answered, Asked, Query
from omnilmm_lite.pipeline.encoding import Encoded, Stream, encoding
from omnilmm_lite.pipeline.width import Width

T = TypeVar("T")

STALL_S = 1.0  # how long a running answer may wait for a newcomer's prompt: nobody reads along
MOST_OPEN = (
    32  # pictures that came in and have not gone out, since an earlier answer is long: what a kill costs at most
)


@dataclass(eq=False)
class _Open(Generic[T]):
    """A picture that hasn't gone out."""

    what: T
    vision_s: float
    answers: list[Answer | InputError | None]

    @property
    def is_done(self) -> bool:
        return None not in self.answers

    def answered(self) -> Answered[T]:
        return Answered(self.what, self.vision_s, [each for each in self.answers if each is not None])


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    """A question that has no answer yet; `place` among those about its picture."""

    open: _Open[T]
    place: int
    query: Query
    features: ImageFeatures | None


def answered(model: Model, asked: Iterable[Asked[T]], width: Width) -> Iterator[Answered[T]]:
    """What comes of each, in their order. Nothing else may use the model meanwhile.

    What is wrong with a question is its answer; OmniLMMError where the machine is at fault.
    """
    with encoding(model, asked) as stream:
        yield from _Run(model.new_batch(STALL_S, width.note), stream, width).answered()


class _Run(Generic[T]):
    """One use."""

    def __init__(self, batch: AnswerBatch, stream: Stream[Encoded[T]], width: Width) -> None:
        self._batch, self._stream, self._width = batch, stream, width
        self._open: deque[_Open[T]] = deque()
        self._waiting: deque[_Waiting[T]] = deque()
        self._seated: dict[Seat, _Waiting[T]] = {}
        self._is_exhausted = False
        self._failure: Exception | None = None  # of reading or encoding, raised once what has come in is answered

    def answered(self) -> Iterator[Answered[T]]:
        try:
            while True:
                self._fill()
                while self._open and self._open[0].is_done:
                    yield self._open.popleft().answered()
                if self._seated:
                    self._step()
                elif self._failure is not None:
                    raise self._failure
                elif self._is_exhausted:
                    return
        finally:
            for seat in self._seated:  # none, unless the caller has left
                self._batch.leave(seat)

    def _fill(self) -> None:
        """Seats what there is room for."""
        while len(self._seated) < self._width.limit:
            if self._waiting:
                self._seat(self._waiting.popleft())
            elif not self._may_take() or not self._take():
                return

    def _may_take(self) -> bool:
        """Whether the next picture may be waited for: what can go out doesn't wait for it, nor do running answers."""
        if self._is_exhausted:
            return False
        if self._seated:
            return self._stream.has_next and len(self._open) < MOST_OPEN
        return not self._open

    def _take(self) -> bool:
        """Whether there was one."""
        try:
            encoded = next(self._stream)
        except StopIteration:
            self._is_exhausted = True
            return False
        except Interrupted:
            raise
        except Exception as error:
            self._is_exhausted, self._failure = True, error
            return False
        taken = _Open(encoded.what, encoded.vision_s, [None for _ in encoded.queries])
        self._open.append(taken)
        for place, query in enumerate(encoded.queries):
            self._waiting.append(_Waiting(taken, place, query, encoded.features))
        return True

    def _seat(self, waiting: _Waiting[T]) -> None:
        query = waiting.query
        prompt = Prompt(query.ids, waiting.features)

        def make(text: TextModel) -> Answer:
            return Answer(text, prompt, query.params, cuts_at_picture=query.cuts_at_picture)

        try:
            seat = self._batch.join(prompt, make)
        except InputError as error:
            waiting.open.answers[waiting.place] = error
            return
        self._seated[seat] = waiting

    def _step(self) -> None:
        for outcome in self._batch.step():
            if not isinstance(outcome, Ended):
                continue
            waiting = self._seated.pop(outcome.seat)
            if outcome.error is not None and not isinstance(outcome.error, InputError):
                raise outcome.error  # the machine is at fault, not the question
            waiting.open.answers[waiting.place] = outcome.error or outcome.seat.answer
