"""Pictures to lines: each encoded, then described."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.caption.loading import Loaded
from omnilmm_lite.caption.outcome import Outcome
from omnilmm_lite.engine.vision import CACHED_PICTURES, ImageFeatures
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams


@dataclass(frozen=True)
class _Encoded:
    """What is left of a loaded file once its pixels are encoded."""

    path: str
    sha256: str | None
    error: str | None
    features: ImageFeatures | None
    vision_s: float


class Captioner:
    """One question, put to every picture by itself."""

    def __init__(self, model: Model, prompt: str, params: SamplingParams) -> None:
        """ContextFullError where prompt and answer don't fit."""
        self._model, self._params = model, params
        self._name = model.parts.identity
        # the same for every picture: what an image token shows stands in its features
        self._ids = model.encode_chat([{"role": "user", "content": prompt}], image=True)
        self._answer(None)

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
                        yield Outcome(loaded.path, None)
                        continue
                    window.append(self._encode(loaded))
                    if len(window) == size:
                        break
            if not window:
                return
            for encoded in window:
                yield Outcome(encoded.path, self._line(encoded))

    def _encode(self, loaded: Loaded) -> _Encoded:
        """The picture's features; its pixels, which are far more, are let go by the caller."""
        started = time.perf_counter()
        features = None if loaded.picture is None else self._model.vision.encode(loaded.picture)
        return _Encoded(loaded.path, loaded.sha256, loaded.error, features, time.perf_counter() - started)

    def _line(self, encoded: _Encoded) -> dict[str, Any]:
        line = {"path": encoded.path, "sha256": encoded.sha256}
        if encoded.features is None:
            return {**line, "error": encoded.error, "model": self._name}
        answer = self._answer(encoded.features)
        for _ in answer:
            pass
        return {
            **line,
            "text": answer.text,
            "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
            "timings": answer.timings.as_json(vision_s=encoded.vision_s),
            "model": self._name,
        }

    def _answer(self, features: ImageFeatures | None) -> Answer:
        return Answer(self._model.text, Prompt(self._ids, features), self._params)
