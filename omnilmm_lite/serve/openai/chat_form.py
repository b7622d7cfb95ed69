"""Chat completions: whole, or chunk by chunk as server-sent events."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omnilmm_lite.answer.generation import FinishReason
from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.serve.answering.form import EVENT_STREAM, Choice, timings, warned
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished, RequestPhase, TextDelta
from omnilmm_lite.serve.openai.logprobs import chat_logprobs
from omnilmm_lite.serve.openai.sse import DONE, STILL_HERE_COMMENT, sse_data, sse_error, sse_phase, usage
from omnilmm_lite.serve.openai.tool_call import ToolCallText, taken_apart, tool_call_text
from omnilmm_lite.serve.request.answer_request import AnswerRequest

CALLED = "tool_calls"  # the reason for an end that is a call


@dataclass
class ChatForm:
    """Source: OpenAI's API reference, "The chat completion object" and "The chat completion chunk object".

    `warning` and `timings` are extensions, in the whole answer, or in a stream's first and last chunk.
    """

    request: AnswerRequest
    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    content_type: str = EVENT_STREAM
    still_here: bytes = STILL_HERE_COMMENT
    # Of the choices that a stream has begun: what they say, and the tokens of text that may still become a call.
    _calls: dict[int, ToolCallText] = field(default_factory=dict)
    _tokens: list[SaidToken] = field(default_factory=list)

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        finished = [choice.finished for choice in choices]
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "usage": usage(finished, self.request.n),
            "timings": timings(finished),
            **warned(self.request),
        }

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
        reason = choice.finished.reason
        logprobs = self._logprobs(choice.tokens)
        ended = reason.value
        if self.request.tools is not None:
            words, call, arguments = taken_apart(choice.text, self.request.tools, whole=reason is FinishReason.STOP)
            message["content"] = words
            if call.name is not None:
                message |= {"content": None, "tool_calls": [_call(call, call.name, arguments)]}
                logprobs, ended = None, _reason(reason, call)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": ended}

    def phase(self, phase: RequestPhase, place: int) -> bytes:
        return sse_phase(phase, place)

    def begin(self) -> bytes:
        begun = "" if self.request.tools is None else None  # it may become a call
        delta, warning = {"role": "assistant", "content": begun, "refusal": None}, warned(self.request)
        first, *others = range(self.request.n)
        return self._chunk(first, delta, **warning) + b"".join(self._chunk(index, delta) for index in others)

    def delta(self, index: int, delta: TextDelta) -> bytes:
        if self.request.tools is not None:
            call = self._calls.setdefault(index, tool_call_text(self.request.tools))
            self._tokens.extend(delta.tokens)
            return self._call_chunks(index, call, *_pushed(call, delta.text))
        return self._chunk(index, {"content": delta.text}, self._logprobs(delta.tokens))

    def choice_end(self, index: int, finished: Finished) -> bytes:
        last, reason = b"", finished.reason.value
        if (call := self._calls.get(index)) is not None:
            words, arguments = call.finish(whole=finished.reason is FinishReason.STOP)
            last, reason = self._call_chunks(index, call, words, arguments, False), _reason(finished.reason, call)
            self._tokens.clear()
        return last + self._chunk(index, {}, reason=reason, timings=timings([finished]))

    def end(self, finished: Sequence[Finished]) -> bytes:
        if not self.request.include_usage:
            return DONE
        counted = usage(finished, self.request.n)
        return sse_data({**self._head("chat.completion.chunk"), "choices": [], "usage": counted}) + DONE

    def error(self, error: ApiError) -> bytes:
        return sse_error(error) + DONE

    def _call_chunks(self, index: int, call: ToolCallText, words: str, arguments: str, is_new: bool) -> bytes:
        """What a call's text has made certain; the first chunk of a call names the function."""
        chunks = b""
        if words:
            chunks = self._chunk(index, {"content": words}, self._logprobs(self._tokens))
            self._tokens.clear()
        if is_new:
            chunks += self._chunk(index, {"tool_calls": [{"index": 0, **_call(call, call.name or "", "")}]})
        if arguments:
            chunks += self._chunk(index, {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})
        return chunks

    def _chunk(
        self, index: int, delta: dict[str, Any], logprobs: Any = None, reason: str | None = None, **more: Any
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return sse_data({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _logprobs(self, tokens: Sequence[SaidToken]) -> dict[str, Any] | None:
        """None where they weren't asked for."""
        return None if self.request.top_logprobs is None else {"content": chat_logprobs(tokens), "refusal": None}


def _pushed(call: ToolCallText, text: str) -> tuple[str, str, bool]:
    """(words, arguments, whether the function's name has just become known)."""
    was_known = call.name is not None
    words, arguments = call.push(text)
    return words, arguments, call.name is not None and not was_known


def _call(call: ToolCallText, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _reason(reason: FinishReason, call: ToolCallText) -> str:
    return CALLED if call.name is not None and reason is FinishReason.STOP else reason.value
