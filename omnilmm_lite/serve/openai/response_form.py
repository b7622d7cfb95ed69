"""Responses: whole, or event by event, in the order that OpenAI's clients follow. Source: OpenAI's API reference,
"Streaming events" of responses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omnilmm_lite.answer.generation import FinishReason
from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.serve.answering.form import EVENT_STREAM, Choice
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished, RequestPhase, TextDelta
from omnilmm_lite.serve.openai.logprobs import chat_logprobs
from omnilmm_lite.serve.openai.response_object import (
    IN_PROGRESS,
    call_item,
    end_status,
    message_item,
    response_object,
    text_part,
)
from omnilmm_lite.serve.openai.sse import STILL_HERE_COMMENT, sse_data, sse_phase
from omnilmm_lite.serve.openai.tool_call import ToolCallText, taken_apart, tool_call_text
from omnilmm_lite.serve.request.answer_request import AnswerRequest

PLACE = {"output_index": 0}  # an answer is one item, words or a call
PART = {**PLACE, "content_index": 0}


@dataclass
class ResponseForm:
    """`warning` and `timings` are extensions, in the response object. A stream has the state of its one item."""

    request: AnswerRequest
    model: str
    id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    content_type: str = EVENT_STREAM
    still_here: bytes = STILL_HERE_COMMENT
    _item: str = field(default_factory=lambda: uuid.uuid4().hex)
    _events: int = 0  # that were sent
    _has_item: bool = False
    _call: ToolCallText = field(init=False)
    _text: str = ""  # words, or a call's arguments
    _tokens: list[SaidToken] = field(default_factory=list)
    _held: list[SaidToken] = field(default_factory=list)  # of text that may still become a call

    def __post_init__(self) -> None:
        self._call = tool_call_text(self.request.tools)

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        (choice,) = choices
        finished, words, tokens = choice.finished, choice.text, choice.tokens
        status = end_status(finished)
        if self.request.tools is not None:
            words, call, arguments = taken_apart(
                choice.text, self.request.tools, whole=finished.reason is FinishReason.STOP
            )
            if call.name is not None:
                item = call_item(f"fc_{self._item}", status, call.id, call.name, arguments)
                return response_object(self._head(), self.request, [item], finished)
        item = message_item(self._message, status, [text_part(words, chat_logprobs(tokens))])
        return response_object(self._head(), self.request, [item], finished)

    def phase(self, phase: RequestPhase, place: int) -> bytes:
        return sse_phase(phase, place)

    def begin(self) -> bytes:
        response = response_object(self._head(), self.request, [], None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def delta(self, index: int, delta: TextDelta) -> bytes:
        if self.request.tools is None:
            return self._words(delta.text, delta.tokens)
        self._held += delta.tokens
        return self._pushed(*self._call.push(delta.text))

    def choice_end(self, index: int, finished: Finished) -> bytes:
        """All that belongs to the item; the response's own end is `end`."""
        held = b""
        if self.request.tools is not None:
            held = self._pushed(*self._call.finish(whole=finished.reason is FinishReason.STOP))
        if self._call.name is not None:
            done = self._event("response.function_call_arguments.done", item_id=f"fc_{self._item}", **PLACE,
                               name=self._call.name, arguments=self._text)  # fmt: skip
        else:
            held += self._begun_message()
            done = self._event("response.output_text.done", item_id=self._message, **PART, text=self._text,
                               logprobs=chat_logprobs(self._tokens))  # fmt: skip
            done += self._event("response.content_part.done", item_id=self._message, **PART, part=self._part())
        return held + done + self._event("response.output_item.done", **PLACE, item=self._output(end_status(finished)))

    def end(self, finished: Sequence[Finished]) -> bytes:
        (ended,) = finished
        status = end_status(ended)
        response = response_object(self._head(), self.request, [self._output(status)], ended)
        return self._event(f"response.{status}", response=response)

    def error(self, error: ApiError) -> bytes:
        said = self._event("error", code=error.code, message=error.message, param=error.param)
        output = [self._output("incomplete")] if self._has_item else []
        response = response_object(self._head(), self.request, output, None, error)
        return said + self._event("response.failed", response=response)

    def _pushed(self, words: str, arguments: str) -> bytes:
        """What a text that may be a call has made certain."""
        sent = b""
        if words:
            sent, self._held = self._words(words, self._held), []
        if self._call.name is not None and not self._has_item:
            self._has_item = True
            sent += self._event("response.output_item.added", **PLACE, item=self._output(IN_PROGRESS))
        if arguments:
            self._text += arguments
            sent += self._event("response.function_call_arguments.delta", item_id=f"fc_{self._item}", **PLACE,
                                delta=arguments)  # fmt: skip
        return sent

    def _words(self, text: str, tokens: Sequence[SaidToken]) -> bytes:
        begun = self._begun_message()
        self._text += text
        self._tokens += tokens
        return begun + self._event("response.output_text.delta", item_id=self._message, **PART, delta=text,
                                   logprobs=chat_logprobs(tokens))  # fmt: skip

    def _begun_message(self) -> bytes:
        """The message's beginning, once."""
        if self._has_item:
            return b""
        self._has_item = True
        item = message_item(self._message, IN_PROGRESS, [])
        return self._event("response.output_item.added", **PLACE, item=item) + self._event(
            "response.content_part.added", item_id=self._message, **PART, part=text_part("", [])
        )

    def _output(self, status: str) -> dict[str, Any]:
        """The item as far as it has come."""
        if self._call.name is not None:
            return call_item(f"fc_{self._item}", status, self._call.id, self._call.name, self._text)
        return message_item(self._message, status, [self._part()])

    def _part(self) -> dict[str, Any]:
        return text_part(self._text, chat_logprobs(self._tokens))

    @property
    def _message(self) -> str:
        return f"msg_{self._item}"

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "created_at": self.created, "model": self.model}

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = sse_data({"type": kind, "sequence_number": self._events, **fields}, kind)
        self._events += 1
        return event
