"""Whatever is sent, a reader answers with a request or names what is wrong: JSON of any shape, and real requests with
any value in any place."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite import load
from omnilmm_lite.answer.generation import FinishReason, Timings
from omnilmm_lite.errors import LONGEST
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.answering.endpoint import MakeForm
from omnilmm_lite.serve.answering.form import Choice
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished
from omnilmm_lite.serve.model.facts import ModelFacts
from omnilmm_lite.serve.openai.chat_form import ChatForm
from omnilmm_lite.serve.openai.completion_form import CompletionForm
from omnilmm_lite.serve.openai.response_form import ResponseForm
from omnilmm_lite.serve.request.answer_request import AnswerRequest, Reader, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.completion_request import read_completion
from omnilmm_lite.serve.request.fields import FieldTable
from omnilmm_lite.serve.request.responses_request import read_response
from omnilmm_lite.serve.request.tables import CHAT, COMPLETION, RESPONSE
from omnilmm_lite.serve.request_checker import RequestChecker

URL = "data:image/png;base64,AAAA"
FUNCTION = {"name": "f", "parameters": {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "null"}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OPTIONS: dict[str, Any] = {
    "model": "tiny", "temperature": 0.5, "max_tokens": 3, "seed": 1, "stop": ["a"], "logit_bias": {"1": 2}, "n": 2,
    "stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2, "user": "me",
}  # fmt: skip
REQUESTS: dict[Reader, list[dict[str, Any]]] = {
    read_chat: [
        {**OPTIONS, "tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "auto", "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"},
                                         {"type": "image_url", "image_url": {"url": URL, "detail": "low"}}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ]},
        {"model": "tiny", "messages": [{"role": "user", "content": "q"}], "response_format": {
            "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
    ],
    read_completion: [OPTIONS | {"prompt": ["a", [1, 2]], "logprobs": 2, "top_logprobs": None}],
    read_response: [
        {"model": "tiny", "instructions": "i", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "q"},
                                         {"type": "input_image", "image_url": URL}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
        ], "tools": [{"type": "function", **FUNCTION}], "tool_choice": {"type": "function", "name": "f"}},
        {"model": "tiny", "input": "q", "text": {"format": {"type": "json_schema", "schema": {}}}, "include": ["x"]},
    ],
}  # fmt: skip
TABLES: dict[Reader, FieldTable] = {read_chat: CHAT, read_completion: COMPLETION, read_response: RESPONSE}
FORMS: dict[Reader, MakeForm] = {read_chat: ChatForm, read_completion: CompletionForm, read_response: ResponseForm}
LARGE = [10**400, -(10**400)]
WORDS = ["user", "tool", "function", "auto", "none", "\ud800", "json_schema", "text", "image_url", URL]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 40), st.sampled_from([*LARGE, *WORDS]), st.floats(allow_nan=False),
    st.text(max_size=8),
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
RULES = ReadingRules(SamplingParams(), context=64, vocab_size=512)


def outcome(read: Reader, data: dict[str, Any], *, strict: bool) -> AnswerRequest | ApiError:
    """What the reader gives; a refusal has to be fit for its client."""
    rules = ReadingRules(RULES.defaults, RULES.context, RULES.vocab_size, strict)
    try:
        request = read(data, rules)
    except ApiError as error:
        assert error.status == 400 and error.message.isprintable() and 0 < len(error.message) <= LONGEST
        json.dumps(error.body(), ensure_ascii=False).encode()
        return error
    assert request.params.max_new_tokens >= 1 and request.n >= 1
    assert request.messages or request.prompts
    (request.warning or "").encode()
    assert not (strict and any("doesn't know" in each for each in request.warnings))
    answer = FORMS[read](request, "tiny")
    end = Finished(FinishReason.STOP, 0.0, 0.0, Timings())
    choices = [Choice("a", (), end)] * (request.n * max(1, len(request.prompts)))
    json.dumps(answer.whole(choices), ensure_ascii=False, allow_nan=False).encode()
    stream = FORMS[read](request, "tiny")
    for line in (stream.begin() + stream.end([end] * len(choices))).decode().split("\n"):
        if line.startswith("data: {"):
            json.loads(line.removeprefix("data: "), parse_constant=no_number)
    return request


def no_number(name: str) -> NoReturn:
    """NaN and Infinity outside of strings, which aren't JSON."""
    raise AssertionError(name)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything within a request."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


@pytest.mark.parametrize("read", REQUESTS, ids=lambda read: read.__name__)
def test_the_requests_below_are_answered(read: Reader) -> None:
    for data in REQUESTS[read]:
        assert isinstance(outcome(read, data, strict=True), AnswerRequest)


def with_other_values(read: Reader, data: st.DataObject) -> dict[str, Any]:
    """One of the requests above with any JSON in up to three places."""
    request: dict[str, Any] = copy.deepcopy(data.draw(st.sampled_from(REQUESTS[read])))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(list(places(request))))
        holder: Any = request
        for key in way:
            holder = holder[key]
        holder[last] = data.draw(JSON)
    return request


@pytest.fixture(scope="module")
def checker() -> RequestChecker:
    return RequestChecker(ModelFacts.of(load()), "tiny", None)


def test_a_strict_server_refuses_what_it_does_not_know(checker: RequestChecker) -> None:
    request = REQUESTS[read_chat][1] | {"unheard_of": 1}
    assert checker.read_object(request)[0].warning
    with pytest.raises(ApiError, match="unheard_of"):
        dataclasses.replace(checker, strict=True).read_object(request)


@pytest.mark.parametrize("read", REQUESTS, ids=lambda read: read.__name__)
@given(data=st.data())
def test_any_value_in_any_place(read: Reader, checker: RequestChecker, data: st.DataObject) -> None:
    """Tokens, grammars and all: what the model's thread is given can't be wrong any more."""
    request = with_other_values(read, data)
    try:
        _, task = checker.read_object(request, read)
    except ApiError as error:
        assert 400 <= error.status < 500 and error.message.isprintable() and len(error.message) <= LONGEST
        return
    assert all(each.ids and max(each.ids) < checker.model.config.decoder.vocab_size for each in (task, *task.more))


@pytest.mark.parametrize("read", REQUESTS, ids=lambda read: read.__name__)
@given(data=st.data())
def test_any_value_of_any_field(read: Reader, data: st.DataObject) -> None:
    table = TABLES[read]
    names = st.sampled_from(sorted(table.honoured | table.harmless | table.only.keys())) | st.text(max_size=8)
    request = data.draw(st.sampled_from(REQUESTS[read])) | data.draw(st.dictionaries(names, JSON, max_size=4))
    outcome(read, request, strict=data.draw(st.booleans()))
