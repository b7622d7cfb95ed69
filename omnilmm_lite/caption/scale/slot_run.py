"""A batch of pictures through the model's slots: encoded as slots come free, described together, given in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from omnilmm_lite.answer.batch import Ended, Seat
from omnilmm_lite.answer.generation import Answer, Prompt, TextModel
from omnilmm_lite.caption.scale.caption_row import CaptionRow
from omnilmm_lite.caption.scale.preparing import Ready
from omnilmm_lite.caption.wording import Wording
from omnilmm_lite.engine.vision import CACHED_PICTURES, ImageFeatures
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams

STALL_S = 1.0  # how long a running answer may wait for a newcomer's prompt: nobody reads along


@dataclass(frozen=True)
class _Encoded:
    """A picture that waits for a slot; `place`: among all."""

    place: int
    sha256: str | None
    features: ImageFeatures
    vision_s: float


class SlotRun:
    """One use: `rows` once."""

    def __init__(self, model: Model, wording: Wording, params: SamplingParams) -> None:
        """`wording` without fields. ContextFullError where prompt and answer don't fit."""
        self._model, self._wording, self._params = model, wording, params
        messages = [{"role": "user", "content": wording.question({})}]
        self._ids = model.encode_chat(messages, image=True)
        Answer(model.text, Prompt(self._ids, None), params)
        self._batch = model.new_batch(STALL_S)
        self._waiting: deque[_Encoded] = deque()
        self._seated: dict[Seat, _Encoded] = {}
        self._done: dict[int, CaptionRow] = {}
        self._is_exhausted = False

    def rows(self, pictures: Iterable[Ready]) -> Iterator[CaptionRow]:
        """A row a picture, in their order."""
        numbered, given = enumerate(pictures), 0
        try:
            while True:
                self._fill(numbered)
                while given in self._done:
                    yield self._done.pop(given)
                    given += 1
                if self._seated:
                    self._step()
                elif self._is_exhausted:
                    return
        finally:
            for seat in self._seated:  # none, unless the caller has left
                self._batch.leave(seat)

    def _fill(self, pictures: Iterator[tuple[int, Ready]]) -> None:
        """Seats what there is room for."""
        while self._batch.has_room:
            if not self._waiting:
                self._encode(pictures)
            if not self._waiting:
                return
            encoded = self._waiting.popleft()
            prompt = Prompt(self._ids, encoded.features)
            seat = self._batch.join(prompt, partial(self._answer, prompt))
            self._seated[seat] = encoded

    def _answer(self, prompt: Prompt, text: TextModel) -> Answer:
        return Answer(text, prompt, self._params)

    def _encode(self, pictures: Iterator[tuple[int, Ready]]) -> None:
        """The next picture; where tower and decoder share their memory a window of them, once nobody is answered."""
        takes_turns = self._model.parts.takes_turns
        if takes_turns and self._seated:
            return
        size = CACHED_PICTURES if takes_turns else 1
        with self._model.vision.kept_open():
            for place, ready in pictures:
                if ready.picture is None:
                    self._done[place] = CaptionRow(ready.sha256, self._model.parts.identity, error=ready.error)
                    if not self._seated and not self._waiting:
                        return  # its row can be given before the next picture is looked at
                    continue
                started = time.perf_counter()
                features = self._model.vision.encode(ready.picture)
                seconds = time.perf_counter() - started
                self._waiting.append(_Encoded(place, ready.sha256, features, seconds))
                if len(self._waiting) == size:
                    return
            self._is_exhausted = True

    def _step(self) -> None:
        for outcome in self._batch.step():
            if not isinstance(outcome, Ended):
                continue
            encoded = self._seated.pop(outcome.seat)
            if outcome.error is not None and not isinstance(outcome.error, InputError):
                raise outcome.error  # the machine is at fault, not the picture
            self._done[encoded.place] = self._row(encoded, outcome.seat.answer, outcome.error)

    def _row(self, encoded: _Encoded, answer: Answer, error: InputError | None) -> CaptionRow:
        name = self._model.parts.identity
        if error is not None:
            return CaptionRow(encoded.sha256, name, error=str(error))
        caption, timings = self._wording.caption(answer.text, {}), answer.timings
        return CaptionRow(
            encoded.sha256,
            name,
            text=caption.text,
            tags=caption.tags,
            finish_reason=None if answer.finish_reason is None else answer.finish_reason.value,
            vision_s=round(encoded.vision_s, 4),
            prefill_s=round(timings.prefill_s, 4),
            decode_s=round(timings.decode_s, 4),
            prompt_tokens=timings.prompt_tokens,
            new_tokens=timings.new_tokens,
        )
