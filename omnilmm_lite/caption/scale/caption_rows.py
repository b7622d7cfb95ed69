"""A batch of pictures through the model's slots: described together, given in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omnilmm_lite.answer.generation import room_for_answer
from omnilmm_lite.caption.scale.caption_row import CaptionRow
from omnilmm_lite.caption.scale.preparing import Ready
from omnilmm_lite.caption.wording import Wording
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.pipeline.asked import Answered, Asked, Query
from omnilmm_lite.pipeline.pipeline import answered
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.sampling_params import SamplingParams


class CaptionRows:
    """Makes them."""

    def __init__(self, model: Model, wording: Wording, params: SamplingParams, width: Width) -> None:
        """`wording` without fields; `width`: how many at once. ContextFullError where the prompt leaves no room for an
        answer."""
        self._model, self._wording, self._width = model, wording, width
        ids = model.encode_chat([{"role": "user", "content": wording.question({})}], image=True)
        room_for_answer(len(ids), model.text.decoder.context)
        self._queries = [Query(ids, params)]

    def of(self, pictures: Iterable[Ready]) -> Iterator[CaptionRow]:
        """A row a picture, in their order."""
        return map(self._row, answered(self._model, map(self._asked, pictures), self._width))

    def _asked(self, ready: Ready) -> Asked[CaptionRow]:
        row = CaptionRow(ready.sha256, self._model.parts.identity, error=ready.error)
        return Asked(row) if ready.picture is None else Asked(row, ready.picture, self._queries)

    def _row(self, done: Answered[CaptionRow]) -> CaptionRow:
        row = done.what
        if not done.answers:
            return row
        (answer,) = done.answers
        if isinstance(answer, InputError):
            return CaptionRow(row.sha256, row.model, error=str(answer))
        caption, timings = self._wording.caption(answer.text, {}), answer.timings
        return CaptionRow(
            row.sha256,
            row.model,
            text=caption.text,
            tags=caption.tags,
            finish_reason=None if answer.finish_reason is None else answer.finish_reason.value,
            vision_s=round(done.vision_s, 4),
            prefill_s=round(timings.prefill_s, 4),
            decode_s=round(timings.decode_s, 4),
            prompt_tokens=timings.prompt_tokens,
            new_tokens=timings.new_tokens,
        )
