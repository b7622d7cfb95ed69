"""Completions of plain texts: whole, or chunk by chunk as server-sent events."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omnilmm_lite.serve.answering.form import EVENT_STREAM, Choice, timings, warned
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished, RequestPhase, TextDelta
from omnilmm_lite.serve.openai.logprobs import completion_logprobs
from omnilmm_lite.serve.openai.sse import DONE, STILL_HERE_COMMENT, sse_data, sse_error, sse_phase, usage
from omnilmm_lite.serve.request.answer_request import AnswerRequest


@dataclass
class CompletionForm:
    """Source: OpenAI's API reference, "The completion object", which a stream's chunks are, too. Extensions as in
    `ChatForm`."""

    request: AnswerRequest
    model: str
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    content_type: str = EVENT_STREAM
    still_here: bytes = STILL_HERE_COMMENT
    _lengths: dict[int, int] = field(default_factory=dict)  # characters that a stream has sent of each choice

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        finished = [choice.finished for choice in choices]
        return {
            **self._head(),
            "choices": [
                self._choice(
                    index,
                    self._echo(index) + choice.text,
                    None if self.request.top_logprobs is None else completion_logprobs(choice.tokens, 0),
                    choice.finished.reason.value,
                )
                for index, choice in enumerate(choices)
            ],
            "usage": usage(finished, self.request.n),
            "timings": timings(finished),
            **warned(self.request),
        }

    def phase(self, phase: RequestPhase, place: int) -> bytes:
        return sse_phase(phase, place)

    def begin(self) -> bytes:
        """Each choice's beginning, which is empty but for an echo."""
        count = self.request.n * len(self.request.prompts)
        return b"".join(self._chunk(index, self._echo(index), warn=index == 0) for index in range(count))

    def delta(self, index: int, delta: TextDelta) -> bytes:
        offset = self._lengths.get(index, 0)
        self._lengths[index] = offset + len(delta.text)
        logprobs = None if self.request.top_logprobs is None else completion_logprobs(delta.tokens, offset)
        return self._chunk(index, delta.text, logprobs)

    def choice_end(self, index: int, finished: Finished) -> bytes:
        choice = self._choice(index, "", None, finished.reason.value)
        return sse_data({**self._head(), "choices": [choice], "timings": timings([finished])})

    def end(self, finished: Sequence[Finished]) -> bytes:
        if not self.request.include_usage:
            return DONE
        return sse_data({**self._head(), "choices": [], "usage": usage(finished, self.request.n)}) + DONE

    def error(self, error: ApiError) -> bytes:
        return sse_error(error) + DONE

    def _echo(self, index: int) -> str:
        """The prompt before its answer, where that is wanted."""
        prompt = self.request.prompts[index // self.request.n]
        return prompt if self.request.sent.get("echo") and isinstance(prompt, str) else ""

    def _chunk(self, index: int, text: str, logprobs: dict[str, Any] | None = None, *, warn: bool = False) -> bytes:
        choice = self._choice(index, text, logprobs, None)
        return sse_data({**self._head(), "choices": [choice], **(warned(self.request) if warn else {})})

    @staticmethod
    def _choice(index: int, text: str, logprobs: dict[str, Any] | None, reason: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}
