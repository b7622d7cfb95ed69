"""Whatever is sent to Ollama's API, it is a request or what is wrong with it is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite import load
from omnilmm_lite.errors import LONGEST
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Task
from omnilmm_lite.serve.model.facts import ModelFacts
from omnilmm_lite.serve.ollama.options import OPTIONS
from omnilmm_lite.serve.ollama.reading import CHAT, GENERATE, read_chat_request, read_generate_request
from omnilmm_lite.serve.request.answer_request import AnswerRequest, Reader
from omnilmm_lite.serve.request.fields import FieldTable
from omnilmm_lite.serve.request_checker import RequestChecker
from tests.serve.request.test_any_request import JSON, places

CALL = {"function": {"name": "f", "arguments": {"a": 1}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
COMMON: dict[str, Any] = {"model": "tiny", "stream": False, "keep_alive": "5m", "think": False, "format": "json",
                          "options": {"temperature": 0.5, "num_predict": 3, "num_ctx": 99, "stop": ["a"]}}  # fmt: skip
REQUESTS: dict[Reader, dict[str, Any]] = {
    read_chat_request: {**COMMON, "format": "", "tools": [TOOL], "messages": [
        {"role": "user", "content": "q", "images": ["AAAA"]},
        {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_name": "f", "content": "r"},
    ]},
    read_generate_request: {**COMMON, "prompt": "q", "system": "s", "images": ["AAAA"], "suffix": "", "logprobs": True},
}  # fmt: skip
TABLES: dict[Reader, FieldTable] = {read_chat_request: CHAT, read_generate_request: GENERATE}


@pytest.fixture(scope="module")
def checker() -> RequestChecker:
    return RequestChecker(ModelFacts.of(load()), "tiny", None)


def outcome(checker: RequestChecker, read: Reader, data: dict[str, Any]) -> tuple[AnswerRequest, Task] | None:
    """What the model's thread would be given; None for a refusal, which has to be fit for its client."""
    try:
        request, task = checker.read_object(data, read)
    except ApiError as error:
        assert 400 <= error.status < 500 and error.message.isprintable() and 0 < len(error.message) <= LONGEST
        json.dumps(error.short_body(), ensure_ascii=False).encode()
        return None
    assert bool(task.ids) == bool(request.messages) and not task.more
    assert task.keep_s is None or task.keep_s >= 0
    return request, task


@pytest.mark.parametrize("read", REQUESTS, ids=lambda read: read.__name__)
def test_the_requests_below_are_answered(read: Reader, checker: RequestChecker) -> None:
    found = outcome(checker, read, REQUESTS[read])
    assert found is not None and found[1].ids and found[1].params.max_new_tokens == 3 and found[1].keep_s == 300


@pytest.mark.parametrize("read", REQUESTS, ids=lambda read: read.__name__)
@given(data=st.data())
def test_any_value_in_any_place(read: Reader, checker: RequestChecker, data: st.DataObject) -> None:
    request: dict[str, Any] = copy.deepcopy(REQUESTS[read])
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(list(places(request))))
        holder: Any = request
        for key in way:
            holder = holder[key]
        holder[last] = data.draw(JSON)
    outcome(checker, read, request)


@pytest.mark.parametrize("read", REQUESTS, ids=lambda read: read.__name__)
@given(data=st.data())
def test_any_value_of_any_field(read: Reader, checker: RequestChecker, data: st.DataObject) -> None:
    table = TABLES[read]
    names = st.sampled_from(sorted(table.honoured | table.harmless | table.only.keys())) | st.text(max_size=8)
    options = st.sampled_from(sorted(OPTIONS.honoured | OPTIONS.harmless | OPTIONS.only.keys()))
    request = REQUESTS[read] | data.draw(st.dictionaries(names, JSON, max_size=3))
    if isinstance(request["options"], dict):
        request["options"] = request["options"] | data.draw(st.dictionaries(options, JSON, max_size=3))
    outcome(checker, read, request)
