"""A conversation about one picture, or about none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Unpack

from omnilmm_lite.answer.generation import Answer, Prompt, TextModel
from omnilmm_lite.engine.vision import VisionEncoder
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.picture.reading import ImageSource
from omnilmm_lite.sampling_params import SamplingOptions, SamplingParams, sampling_params
from omnilmm_lite.text.prompt import encode_chat


class Chat:
    """Turns are kept as text, and every prompt is tokenised anew, as the reference does; the KV cache still serves what
    the last prompt and this one have in common, the picture above all."""

    def __init__(
        self,
        text: TextModel,
        vision: VisionEncoder,
        defaults: SamplingParams,
        image: ImageSource | PreparedImage | None = None,
        system: str | None = None,
    ) -> None:
        """`defaults`: what `ask` and `stream` don't say. `image`: path, bytes, PIL or prepared image, encoded here.
        `system` replaces the reference's system turn."""
        self._text, self._defaults = text, defaults
        started = time.perf_counter()
        self.image = None if image is None else vision.encode(image)
        self.vision_s = time.perf_counter() - started
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def ask(self, question: str, **options: Unpack[SamplingOptions]) -> str:
        """The whole answer."""
        return "".join(self.stream(question, **options))

    def stream(self, question: str, **options: Unpack[SamplingOptions]) -> Iterator[str]:
        """The answer in pieces, as they come. What was answered until then becomes part of the conversation."""
        answer = self.answer(question, sampling_params(self._defaults, options))
        return self.follow(question, answer)

    def answer(self, question: str, params: SamplingParams) -> Answer:
        """An answer that has not begun yet, with its timings; give it to `follow` to run it."""
        messages = [*self.messages, {"role": "user", "content": question}]
        ids = encode_chat(self._text.tokenizer, messages, self._text.config, image=self.image is not None)
        return Answer(self._text, Prompt(ids, self.image), params)

    def follow(self, question: str, answer: Answer) -> Iterator[str]:
        """Runs `answer`. The turn is kept however the iteration ends, unless the model said nothing until then."""
        try:
            yield from answer
        finally:
            if answer.text or answer.finish_reason is not None:
                self.messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]
