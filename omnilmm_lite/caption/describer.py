"""Pictures to lines: each described by itself, as many at once as the model has slots for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from omnilmm_lite.answer.generation import room_for_answer
from omnilmm_lite.caption.loading import Loaded, Need
from omnilmm_lite.caption.outcome import Become, Outcome
from omnilmm_lite.caption.wording import Wording
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.pipeline.asked import Answered, Asked, Query
from omnilmm_lite.pipeline.pipeline import answered
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.sampling_params import SamplingParams

_BECOME_OF_SKIPPED = {
    Need.NOTHING: Become.HAD,
    Need.NOTHING_BESIDE: Become.KEPT,
    Need.WRITING: Become.WRITTEN,
    Need.ELSEWHERE: Become.ELSEWHERE,
    Need.UNWRITABLE: Become.UNWRITTEN,
}


@dataclass(frozen=True)
class _Described:
    """What is left of a loaded file in the pipeline: its pixels are far more."""

    loaded: Loaded
    remark: str


class Describer:
    """One question, put to every picture by itself."""

    def __init__(
        self, model: Model, wording: Wording | str, params: SamplingParams, width: Width | None = None
    ) -> None:
        """ContextFullError where the prompt leaves no room for an answer. `wording`: a text is the prompt as it stands.
        `width`: how many answers at once; by default as many as the model has slots."""
        self._model, self._params = model, params
        self._name = model.parts.identity
        self._wording = Wording.plain(wording) if isinstance(wording, str) else wording
        self._width = width or Width(model.slots, is_measured=False)
        # without fields the same for every picture: what an image token shows stands in its features
        bare = self._wording.question({})
        self._ids = [] if self._wording.prompt.names and not bare.strip() else self._encoded(bare)
        room_for_answer(len(self._ids), model.text.decoder.context)

    def describe(self, pictures: Iterable[Loaded]) -> Iterator[Outcome]:
        """What becomes of each picture; lines come in the order of the pictures."""
        for done in answered(self._model, map(self._asked, pictures), self._width):
            yield self._outcome(done)

    def _asked(self, loaded: Loaded) -> Asked[_Described]:
        remark = "" if loaded.picture is None else loaded.picture.remark
        described = _Described(replace(loaded, picture=None), remark)
        if loaded.picture is None:
            return Asked(described)
        try:
            ids = self._encoded(self._wording.question(loaded.fields)) if self._wording.prompt.names else self._ids
        except InputError as error:  # such as of a name that is no text
            return Asked(_Described(replace(described.loaded, error=str(error)), remark))
        return Asked(described, loaded.picture, [Query(ids, self._params)])

    def _outcome(self, done: Answered[_Described]) -> Outcome:
        loaded, wording = done.what.loaded, self._wording
        if loaded.is_skipped:
            return skipped(loaded)
        line: dict[str, Any] = {"path": loaded.path, "sha256": loaded.sha256}
        if not done.answers:
            return self._failed(line, loaded.error)
        (answer,) = done.answers
        if isinstance(answer, InputError):  # such as that the fields made it too long
            return self._failed(line, str(answer))
        caption = wording.caption(answer.text, loaded.fields)
        if wording.prompt.names:
            line["prompt"] = wording.question(loaded.fields)
        line["text"] = caption.text
        if caption.tags is not None:
            line["tags"] = list(caption.tags)
        line |= {
            "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
            "timings": answer.timings.as_json(vision_s=done.vision_s),
            "model": self._name,
        }
        return Outcome(loaded.path, line, caption, loaded.sha256, Become.DESCRIBED, done.what.remark)

    def _failed(self, line: dict[str, Any], error: str | None) -> Outcome:
        return Outcome(line["path"], {**line, "error": error, "model": self._name}, become=Become.FAILED)

    def _encoded(self, question: str) -> list[int]:
        return self._model.encode_chat([{"role": "user", "content": question}], image=True)


def skipped(loaded: Loaded) -> Outcome:
    """A picture that is asked nothing."""
    become = _BECOME_OF_SKIPPED[loaded.need]
    return Outcome(loaded.path, None, sha256=loaded.sha256, become=become, problem=loaded.error or "")
