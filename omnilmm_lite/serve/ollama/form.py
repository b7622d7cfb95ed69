"""Answers as Ollama says them: one JSON object, or one a line while the answer is made."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from omnilmm_lite.answer.generation import FinishReason
from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.serve.answering.form import Choice, summed, warned
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished, RequestPhase, TextDelta
from omnilmm_lite.serve.openai.logprobs import chat_logprobs
from omnilmm_lite.serve.openai.tool_call import ToolCallText, taken_apart, tool_call_text
from omnilmm_lite.serve.request.answer_request import AnswerRequest

NDJSON = "application/x-ndjson"


class Shape(Enum):
    """Where the text stands in a line, and what it is called."""

    CHAT = "message"
    GENERATE = "response"


@dataclass
class OllamaForm:
    """See `omnilmm_lite.serve.answering.form.AnswerForm`. A model is called as who asks calls it."""

    shape: Shape
    request: AnswerRequest
    id: str = field(default_factory=lambda: f"ollama-{uuid.uuid4().hex}")
    content_type: str = NDJSON
    still_here: bytes = b" "  # before a JSON object, white space means nothing
    _call: ToolCallText = field(init=False)
    _arguments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._call = tool_call_text(self.request.tools)

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        (choice,) = choices  # nobody can ask Ollama for more
        text, calls = choice.text, list[dict[str, Any]]()
        if self.request.tools is not None:
            text, call, arguments = taken_apart(
                text, self.request.tools, whole=choice.finished.reason is FinishReason.STOP
            )
            text, calls = _called(text, call, arguments)
        more = self._logprobs(choice.tokens) | self._end([choice.finished])
        return self._line(text, calls, **more)

    def phase(self, phase: RequestPhase, place: int) -> bytes:
        """Nothing: there is no line that clients pass over."""
        return b""

    def begin(self) -> bytes:
        return b""

    def delta(self, index: int, delta: TextDelta) -> bytes:
        text = delta.text
        if self.request.tools is not None:  # a call is said when it is whole
            text, arguments = self._call.push(text)
            self._arguments.append(arguments)
        more = self._logprobs(delta.tokens)
        return _line(self._line(text, **more, done=False)) if text or more else b""

    def choice_end(self, index: int, finished: Finished) -> bytes:
        if self.request.tools is None:
            return b""
        words, arguments = self._call.finish(whole=finished.reason is FinishReason.STOP)
        text, calls = _called(words, self._call, "".join(self._arguments) + arguments)
        return _line(self._line(text, calls, done=False)) if text or calls else b""

    def end(self, finished: Sequence[Finished]) -> bytes:
        return _line(self._line("", **self._end(finished)))

    def error(self, error: ApiError) -> bytes:
        return _line(error.short_body())

    def _line(self, text: str, calls: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}
        said = message if self.shape is Shape.CHAT else text
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {"model": self.request.model, "created_at": now, self.shape.value: said, **more}

    def _logprobs(self, tokens: Sequence[SaidToken]) -> dict[str, Any]:
        return {} if self.request.top_logprobs is None else {"logprobs": chat_logprobs(tokens)}

    def _end(self, finished: Sequence[Finished]) -> dict[str, Any]:
        """The last line's own fields. Durations in nanoseconds; the picture's encoding is part of the prompt's."""
        timings, last = summed(finished), finished[-1]
        reason = last.reason.value
        if not self.request.messages and not self.request.prompts:
            reason = "unload" if self.request.keep_s == 0 else "load"
        prompt_s = timings.prefill_s + sum(each.vision_s for each in finished)
        load_s = sum(each.load_s for each in finished)
        queue_s = sum(each.queue_s for each in finished)
        said = {
            "done": True,
            "done_reason": reason,
            "total_duration": _ns(queue_s + load_s + prompt_s + timings.decode_s),
            "load_duration": _ns(load_s),
            "prompt_eval_count": timings.prompt_tokens,
            "prompt_eval_duration": _ns(prompt_s),
            "eval_count": timings.new_tokens,
            "eval_duration": _ns(timings.decode_s),
        }
        return said | warned(self.request)


def _called(text: str, call: ToolCallText, arguments: str) -> tuple[str, list[dict[str, Any]]]:
    """The words and the calls. Ollama's arguments are no text: those that were cut off are said as words."""
    if call.name is None:
        return text, []
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return text + arguments, []
    return text, [{"function": {"name": call.name, "arguments": parsed}}]


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode() + b"\n"


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
