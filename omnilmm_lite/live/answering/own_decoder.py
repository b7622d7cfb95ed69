"""`--llm same`: the decoder of the model that watches, without a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.live.answering.text_model import Message
from omnilmm_lite.live.model_turns import SharedModel, Urgency
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.prompt import encode_chat

MOST_NEW_TOKENS = 256  # an answer is said aloud, a summary is short


class OwnDecoder:
    """No other model is needed, and it waits its turn."""

    def __init__(self, model: SharedModel, params: SamplingParams | None = None) -> None:
        """`params`: how answers are drawn; None takes the model's own, and at most MOST_NEW_TOKENS."""
        self._model = model
        own = model.model.sampling
        self._params = params or replace(own, max_new_tokens=min(MOST_NEW_TOKENS, own.max_new_tokens))

    @property
    def name(self) -> str:
        return self._model.model.name

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether prompt and answer fit the context."""
        text = self._model.model.text
        wanted = min(self._params.max_new_tokens, MOST_NEW_TOKENS, text.decoder.context // 2)
        return len(self._ids(messages)) + wanted <= text.decoder.context

    async def complete(self, messages: Sequence[Message], urgency: Urgency, on_piece: Callable[[str], None]) -> None:
        """See `TextModel`."""
        answer = Answer(self._model.model.text, Prompt(self._ids(messages)), self._params)
        async with self._model.turn(urgency) as turn:
            await turn.stream(lambda: answer, on_piece)

    async def wait_until_back(self) -> None:
        """It was never gone."""

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        turns = [{"role": each.role.value, "content": each.content} for each in messages]
        return encode_chat(self._model.model.text.tokenizer, turns, self._model.model.config, image=False)
