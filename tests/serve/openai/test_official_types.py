"""What is sent has the types of OpenAI's own package, which its client doesn't insist on: the forms alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from omnilmm_lite.answer.generation import FinishReason, Timings
from omnilmm_lite.answer.logprobs import SaidToken, TokenLogprob
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.answering.endpoint import MakeForm
from omnilmm_lite.serve.answering.form import AnswerForm, Choice
from omnilmm_lite.serve.errors import shutting_down
from omnilmm_lite.serve.jobs import Finished, RequestPhase, TextDelta
from omnilmm_lite.serve.openai.chat_form import ChatForm
from omnilmm_lite.serve.openai.completion_form import CompletionForm
from omnilmm_lite.serve.openai.response_form import ResponseForm
from omnilmm_lite.serve.request.answer_request import Reader, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.completion_request import read_completion
from omnilmm_lite.serve.request.responses_request import read_response

TURN = {"role": "user", "content": "q"}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}, "strict": True}
CHAT_TOOLS = {"tools": [{"type": "function", "function": FUNCTION}]}
FLAT_TOOLS: dict[str, Any] = {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "auto"}
CALL = ['{"na', 'me": "f", "argu', 'ments": {', "}", "}"]
WORDS = ["A", " ca", "t."]
RULES = ReadingRules(SamplingParams(), context=64, vocab_size=512)
CHATS: list[tuple[dict[str, Any], list[str]]] = [
    ({"messages": [TURN]}, WORDS),
    ({"messages": [TURN], "n": 2, "logprobs": True, "top_logprobs": 2, "unknown": 1}, WORDS),
    ({"messages": [TURN], **CHAT_TOOLS}, CALL),
    ({"messages": [TURN], **CHAT_TOOLS, "logprobs": True}, WORDS),
    ({"messages": [TURN], "stream_options": {"include_usage": True}}, []),
]
CASES: list[tuple[Reader, MakeForm, Any, Any, dict[str, Any], list[str]]] = [
    (read_chat, ChatForm, ChatCompletion, ChatCompletionChunk, body, text) for body, text in CHATS
]
CASES += [
    (read_completion, CompletionForm, Completion, Completion, body, WORDS)
    for body in ({"prompt": "a"}, {"prompt": ["a", "b"], "n": 2, "logprobs": 3}, {"prompt": "a", "echo": True, "x": 1})
]
RESPONSES: list[tuple[dict[str, Any], list[str]]] = [
    ({"input": "q"}, WORDS),
    ({"input": "q", "instructions": "i", "metadata": {"a": "b"}, "reasoning": {"effort": "low"}}, WORDS),
    ({"input": "q", "include": ["message.output_text.logprobs"], "top_logprobs": 2, "unknown": 1}, WORDS),
    ({"input": "q", **FLAT_TOOLS}, CALL),
    ({"input": "q", **FLAT_TOOLS, "include": ["message.output_text.logprobs"]}, WORDS),
    ({"input": "q"}, []),
]
CASES += [(read_response, ResponseForm, Response, ResponseStreamEvent, body, text) for body, text in RESPONSES]


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def checked(kind: Any, data: dict[str, Any]) -> None:
    """By the package's types. They lack that a completion's chunks have no reason for an end before it comes."""
    if kind is Completion:
        ends = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in data["choices"]]
        data = {**data, "choices": ends}
    adapter(kind).validate_python(data)


def deltas(pieces: Sequence[str]) -> list[TextDelta]:
    """Each piece as one token; another one was as likely."""
    tokens = [TokenLogprob(5, piece.encode(), -0.5) for piece in pieces]
    return [TextDelta(piece, (SaidToken(token, (token, TokenLogprob(6, b"\xff", -2.0))),))
            for piece, token in zip(pieces, tokens, strict=True)]  # fmt: skip


def finished(reason: FinishReason) -> Finished:
    return Finished(reason, 0.1, 0.2, Timings(prompt_tokens=9, prefill_tokens=4, new_tokens=3, decode_steps=2))


def messages(stream: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events, whose names must be their types."""
    found = []
    for event in stream.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.split("\n") if line and not line.startswith(":"))
        if lines and lines["data"] != "[DONE]":
            found.append(json.loads(lines["data"]))
            assert lines.get("event") == found[-1].get("type")
    return found


@pytest.mark.parametrize("reason", FinishReason)
@pytest.mark.parametrize(("read", "make", "whole_type", "piece_type", "body", "pieces"), CASES)
def test_an_answer_whole_and_in_pieces(
    read: Reader, make: MakeForm, whole_type: Any, piece_type: Any, body: dict[str, Any], pieces: list[str],
    reason: FinishReason,
) -> None:  # fmt: skip
    request = read({"model": "tiny", **body}, RULES)
    count = request.n * max(1, len(request.prompts))
    end, said = finished(reason), deltas(pieces)
    tokens = tuple(token for each in said for token in each.tokens)
    whole = make(request, "tiny").whole([Choice("".join(pieces), tokens, end)] * count)
    checked(whole_type, whole)
    assert ("warning" in whole) == bool(request.warnings)
    form: AnswerForm = make(request, "tiny")
    stream = form.phase(RequestPhase.QUEUED, 2) + form.begin()
    for index in range(count):
        stream += b"".join(form.delta(index, each) for each in said) + form.choice_end(index, end)
    sent = messages(stream + form.end([end] * count))
    for each in sent:
        checked(piece_type, each)
    if make is ChatForm and request.top_logprobs is not None:
        streamed = [token["token"] for each in sent for choice in each["choices"] if choice["index"] == 0
                    and choice["logprobs"] for token in choice["logprobs"]["content"]]  # fmt: skip
        assert streamed == pieces
    if make is ResponseForm:
        assert sent[-1]["response"]["output"] == replaced_ids(whole["output"], sent[-1]["response"]["output"])


def replaced_ids(output: list[dict[str, Any]], ids: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Which are others in another answer."""
    names = ("id", "call_id")
    return [item | {name: other[name] for name in names if name in other}
            for item, other in zip(output, ids, strict=True)]  # fmt: skip


@pytest.mark.parametrize("pieces", [[], WORDS[:1], CALL[:3]])
def test_a_response_that_breaks_off(pieces: list[str]) -> None:
    form = ResponseForm(read_response({"model": "tiny", "input": "q", **FLAT_TOOLS}, RULES), "tiny")
    stream = form.begin() + b"".join(form.delta(0, each) for each in deltas(pieces)) + form.error(shutting_down())
    sent = messages(stream)
    for each in sent:
        checked(ResponseStreamEvent, each)
    assert [each["type"] for each in sent[-2:]] == ["error", "response.failed"]
    assert sent[-1]["response"]["error"] == {"code": "server_error", "message": "the server is shutting down"}


@pytest.mark.parametrize("value", ["\ud800", float("inf"), {"\udfff": 1}])
def test_what_cannot_be_written_is_not_said_back(value: Any) -> None:
    """JSON's reader takes all of them; its writer doesn't."""
    request = read_response({"model": "tiny", "input": "q", "metadata": {"a": value}, "truncation": "auto"}, RULES)
    whole = ResponseForm(request, "tiny").whole([Choice("", (), finished(FinishReason.STOP))])
    assert (whole["metadata"], whole["truncation"]) == ({}, "auto")
    json.dumps(whole, ensure_ascii=False, allow_nan=False).encode()
