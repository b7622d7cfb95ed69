"""Answers in the shape of OpenAI's API: whole, or chunk by chunk as server-sent events."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from omnilmm_lite.serve.engine import Finished, RequestPhase
from omnilmm_lite.serve.errors import ApiError

DONE = b"data: [DONE]\n\n"


def sse_data(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def sse_phase(phase: RequestPhase, place: int) -> bytes:
    """A phase as an event stream's comment, which clients that don't know it pass over."""
    return f": {phase.value} {place}\n\n".encode() if phase is RequestPhase.QUEUED else f": {phase.value}\n\n".encode()


def sse_error(error: ApiError) -> bytes:
    """How an answer that has begun says that it breaks off."""
    return sse_data(error.body())


@dataclass(frozen=True)
class Completion:
    """What is the same in every part of one answer. Source: OpenAI's API reference, "The chat completion object"."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, finished: Finished) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finished.reason.value}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage(finished),
            "timings": timings(finished),
        }

    def first_chunk(self) -> bytes:
        return self._chunk({"role": "assistant", "content": "", "refusal": None}, None)

    def chunk(self, text: str) -> bytes:
        return self._chunk({"content": text}, None)

    def last_chunk(self, finished: Finished) -> bytes:
        return self._chunk({}, finished.reason.value, timings=timings(finished))

    def usage_chunk(self, finished: Finished) -> bytes:
        return sse_data({**self._head("chat.completion.chunk"), "choices": [], "usage": usage(finished)})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse_data({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(finished: Finished) -> dict[str, Any]:
    """Tokens: the prompt's with the picture's, and what of it the KV cache still held."""
    counts = finished.timings
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.new_tokens,
        "total_tokens": counts.prompt_tokens + counts.new_tokens,
        "prompt_tokens_details": {"cached_tokens": max(0, counts.prompt_tokens - counts.prefill_tokens)},
    }


def timings(finished: Finished) -> dict[str, float]:
    """Where the time went: an extension, which other clients pass over."""
    return finished.timings.as_json(queue_s=finished.queue_s, vision_s=finished.vision_s)
