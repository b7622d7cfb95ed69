"""Pictures to lines: each encoded, then described."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.caption.loading import Loaded, Need
from omnilmm_lite.caption.outcome import Become, Outcome
from omnilmm_lite.caption.wording import Wording
from omnilmm_lite.engine.vision import CACHED_PICTURES, ImageFeatures
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams

_BECOME_OF_SKIPPED = {
    Need.NOTHING: Become.HAD,
    Need.NOTHING_BESIDE: Become.KEPT,
    Need.WRITING: Become.WRITTEN,
    Need.ELSEWHERE: Become.ELSEWHERE,
    Need.UNWRITABLE: Become.UNWRITTEN,
}


@dataclass(frozen=True)
class _Encoded:
    """What is left of a loaded file once its pixels are encoded."""

    path: str
    sha256: str | None
    error: str | None
    features: ImageFeatures | None
    vision_s: float
    fields: Mapping[str, str]
    remark: str


class Describer:
    """One question, put to every picture by itself."""

    def __init__(self, model: Model, wording: Wording | str, params: SamplingParams) -> None:
        """ContextFullError where prompt and answer don't fit. `wording`: a text is the prompt as it stands."""
        self._model, self._params = model, params
        self._name = model.parts.identity
        self._wording = Wording.plain(wording) if isinstance(wording, str) else wording
        # without fields the same for every picture: what an image token shows stands in its features
        self._ids = self._encoded(self._wording.question({}))
        self._answer(self._ids, None)

    def describe(self, pictures: Iterable[Loaded]) -> Iterator[Outcome]:
        """What becomes of each picture; lines come in the order of the pictures.

        A tower that shares its memory with the decoder takes seconds to open. It is opened once for a window of
        pictures, which are described after that.
        """
        size = CACHED_PICTURES if self._model.parts.takes_turns else 1
        remaining = iter(pictures)
        while True:
            window: list[_Encoded] = []
            with self._model.vision.kept_open():
                for loaded in remaining:
                    if loaded.is_skipped:
                        yield skipped(loaded)
                        continue
                    window.append(self._encode(loaded))
                    if len(window) == size:
                        break
            if not window:
                return
            for encoded in window:
                yield self._outcome(encoded)

    def _encode(self, loaded: Loaded) -> _Encoded:
        """The picture's features; its pixels, which are far more, are let go by the caller."""
        started = time.perf_counter()
        features = None if loaded.picture is None else self._model.vision.encode(loaded.picture)
        seconds = time.perf_counter() - started
        remark = "" if loaded.picture is None else loaded.picture.remark
        return _Encoded(loaded.path, loaded.sha256, loaded.error, features, seconds, loaded.fields, remark)

    def _outcome(self, encoded: _Encoded) -> Outcome:
        line: dict[str, Any] = {"path": encoded.path, "sha256": encoded.sha256}
        if encoded.features is None:
            return self._failed(line, encoded.error)
        question = self._wording.question(encoded.fields)
        try:
            ids = self._encoded(question) if self._wording.prompt.names else self._ids
            answer = self._answer(ids, encoded.features)
        except InputError as error:  # the fields made it too long
            return self._failed(line, str(error))
        for _ in answer:
            pass
        caption = self._wording.caption(answer.text, encoded.fields)
        if self._wording.prompt.names:
            line["prompt"] = question
        line["text"] = caption.text
        if caption.tags is not None:
            line["tags"] = list(caption.tags)
        line |= {
            "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
            "timings": answer.timings.as_json(vision_s=encoded.vision_s),
            "model": self._name,
        }
        return Outcome(encoded.path, line, caption, encoded.sha256, Become.DESCRIBED, encoded.remark)

    def _failed(self, line: dict[str, Any], error: str | None) -> Outcome:
        return Outcome(line["path"], {**line, "error": error, "model": self._name}, become=Become.FAILED)

    def _encoded(self, question: str) -> list[int]:
        return self._model.encode_chat([{"role": "user", "content": question}], image=True)

    def _answer(self, ids: list[int], features: ImageFeatures | None) -> Answer:
        return Answer(self._model.text, Prompt(ids, features), self._params)


def skipped(loaded: Loaded) -> Outcome:
    """A picture that is asked nothing."""
    become = _BECOME_OF_SKIPPED[loaded.need]
    return Outcome(loaded.path, None, sha256=loaded.sha256, become=become, problem=loaded.error or "")
