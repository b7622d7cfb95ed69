"""A conversation about one picture, or about none."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict, Unpack

from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.answer.sampling import SamplingParams
from omnilmm_lite.picture.reading import ImageSource, load_image

if TYPE_CHECKING:
    from omnilmm_lite.model import Model


class SamplingOptions(TypedDict, total=False):
    """What a caller may say about sampling; the rest are the bundle's defaults. `greedy` is temperature 0."""

    greedy: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    max_new_tokens: int
    seed: int | None


def sampling_params(defaults: SamplingParams, options: SamplingOptions) -> SamplingParams:
    """`defaults` with `options` over them. InputError for values out of range."""
    changes = dict(options)
    if changes.pop("greedy", False):
        changes["temperature"] = 0.0
    return dataclasses.replace(defaults, **changes)  # type: ignore[arg-type]  # the TypedDict has its very fields


class Chat:
    """Turns are kept as text, and every prompt is tokenised anew, as the reference does; the KV cache still serves what
    the last prompt and this one have in common, the picture above all."""

    def __init__(self, model: Model, image: ImageSource | None = None, system: str | None = None) -> None:
        """`image`: path, bytes or PIL image, encoded here. `system` replaces the reference's system turn."""
        self._model = model
        started = time.perf_counter()
        self.image = None if image is None else model.vision.encode(load_image(image))
        self.vision_s = time.perf_counter() - started
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def ask(self, question: str, **options: Unpack[SamplingOptions]) -> str:
        """The whole answer."""
        return "".join(self.stream(question, **options))

    def stream(self, question: str, **options: Unpack[SamplingOptions]) -> Iterator[str]:
        """The answer in pieces, as they come. What was answered until then becomes part of the conversation."""
        answer = self.answer(question, sampling_params(self._model.sampling, options))
        return self.follow(question, answer)

    def answer(self, question: str, params: SamplingParams) -> Answer:
        """An answer that has not begun yet, with its timings; give it to `follow` to run it."""
        messages = [*self.messages, {"role": "user", "content": question}]
        ids = self._model.encode_chat(messages, image=self.image is not None)
        return Answer(self._model.text, Prompt(ids, self.image), params)

    def follow(self, question: str, answer: Answer) -> Iterator[str]:
        """Runs `answer`. The turn is kept however the iteration ends, unless the model said nothing until then."""
        try:
            yield from answer
        finally:
            if answer.text or answer.finish_reason is not None:
                self.messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]
