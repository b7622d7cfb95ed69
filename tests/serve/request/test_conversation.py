"""Conversations as people and programs send them, and what becomes of them: worked out on paper."""

from __future__ import annotations

from typing import Any

import pytest

from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.responses_request import read_response
from omnilmm_lite.text.prompt import DEFAULT_SYSTEM

RULES = ReadingRules(SamplingParams(), context=2048, vocab_size=32009)
OLD, NEW = "data:image/png;base64,T0xE", "data:image/png;base64,TkVX"
HI, HELLO = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def read(*messages: dict[str, Any], **fields: Any) -> AnswerRequest:
    return read_chat({"model": "tiny", "messages": list(messages), **fields}, RULES)


def said(request: AnswerRequest) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in request.messages]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([HI], [("user", "hi")]),
        ([{"role": "system", "content": "Be brief."}, HI], [("system", "Be brief."), ("user", "hi")]),
        ([{"role": "developer", "content": "Be brief."}, HI], [("system", "Be brief."), ("user", "hi")]),
        (
            [{"role": "system", "content": "A."}, HI, HELLO, {"role": "developer", "content": "B."}, HI],
            [("system", "A.\n\nB."), ("user", "hi"), ("assistant", "hello"), ("user", "hi")],
        ),
        ([HI, {"role": "system", "content": "Late."}], [("system", "Late."), ("user", "hi")]),
        ([HI, {"role": "user", "content": "there"}], [("user", "hi\nthere")]),
        ([HI, {"role": "system", "content": "A."}, HI], [("system", "A."), ("user", "hi\nhi")]),
        ([HI, HELLO, HELLO, HI], [("user", "hi"), ("assistant", "hello\nhello"), ("user", "hi")]),
        ([HI, {"role": "assistant", "content": None}, HI], [("user", "hi"), ("assistant", ""), ("user", "hi")]),
        ([HI, {"role": "assistant", "content": None, "refusal": "No."}, HI],
         [("user", "hi"), ("assistant", "No."), ("user", "hi")]),
        ([{"role": "system", "content": None}, HI, {"role": "user", "content": None}], [("user", "hi")]),
        ([user(text("a"), text("b"))], [("user", "a\nb")]),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}], [("user", "a")]),
        ([HI, {"role": "assistant", "content": [{"type": "reasoning", "text": "hm"}, text("hello")]}, HI],
         [("user", "hi"), ("assistant", "hello"), ("user", "hi")]),
        ([HI | {"name": "me", "metadata": {}}], [("user", "hi")]),
    ],
)  # fmt: skip
def test_turns(messages: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    request = read(*messages)
    assert (said(request), request.image_url, request.warnings) == (expected, None, ())


def test_a_functions_call_and_its_result_are_turns_like_others() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    request = read(HI, {"role": "assistant", "content": None, "tool_calls": [call]},
                   {"role": "tool", "tool_call_id": "c1", "content": "sunny"})  # fmt: skip
    expected = [
        ("user", "hi"),
        ("assistant", '{"name": "weather", "arguments": {"city": "Rome"}}'),
        ("user", "Result of weather:\nsunny"),
    ]
    assert said(request) == expected
    old = {"role": "function", "name": "weather", "content": "sunny"}  # as it was before there were tools
    assert said(read(HI, HELLO, old))[2] == expected[2]
    items = [
        HI, {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]  # fmt: skip
    assert said(read_response({"model": "tiny", "input": items}, RULES)) == expected


@pytest.mark.parametrize(
    ("messages", "url", "warned"),
    [
        ([user(picture(OLD), text("a"))], OLD, None),
        ([user({"type": "image_url", "image_url": OLD}, text("a"))], OLD, None),
        ([user({"type": "input_image", "image_url": OLD, "detail": "high"}, text("a"))], OLD, None),
        ([user(text("a"), picture(OLD)), HELLO, HI], OLD, None),
        ([HI, HELLO, user(picture(NEW), text("a"))], NEW, "put first"),
        ([HI, HELLO, user(picture(NEW), text("a")), HELLO, HI], NEW, None),  # which was said before
        ([user(picture(OLD), text("a")), HELLO, user(picture(NEW), text("a"))], NEW, "new picture"),
        ([user(picture(OLD), text("a")), HELLO, user(picture(NEW), text("a")), HELLO, HI], NEW, None),
        ([user(picture(OLD), text("a")), HELLO, user(picture(OLD), text("a"))], OLD, None),  # the same once more
        ([user(picture(OLD), text("a")), HELLO, user(picture(NEW), text("a")), HELLO, user(picture(OLD), text("a"))],
         OLD, None),
        ([user(picture(OLD), picture(NEW), text("a"))], NEW, "last picture"),
        ([user(picture(OLD), picture(OLD), text("a"))], OLD, None),
        ([user(picture(OLD)), {"role": "user", "content": "a"}], OLD, None),
    ],
)  # fmt: skip
def test_the_newest_picture_counts_and_is_announced_once(
    messages: list[dict[str, Any]], url: str, warned: str | None
) -> None:
    request = read(*messages)
    assert request.image_url == url
    assert "Describe" not in str(request.messages)
    assert (request.warning is None) if warned is None else (warned in (request.warning or ""))


@pytest.mark.parametrize("words", [[], [text("")], [text(" \n")]])
def test_a_picture_without_a_word_asks_what_it_is(words: list[dict[str, Any]]) -> None:
    assert said(read(user(picture(OLD), *words))) == [("user", "Describe this picture.")]
    later = read(user(picture(OLD), *words), HELLO, HI)
    assert said(later)[0] == ("user", "Describe this picture.")


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ([HELLO, HI], "messages: there is no user message"),
        ([HI, HELLO], "messages[1]: the last"),
        ([{"role": "system", "content": "A."}], "messages: there is no user message"),
        ([{"role": "assistant", "content": [picture(OLD)]}, HI], "messages[0].content: pictures"),
        ([{"role": "system", "content": [picture(OLD)]}, HI], "messages[0].content: pictures"),
        ([{"role": "user", "content": None}], "messages[0]: the prompt is empty"),
        ([HI, HELLO, {"role": "user", "content": [text(" ")]}], "messages[2]: the prompt is empty"),
        ([user({"type": "input_audio", "input_audio": {}})], "messages[0].content[0].type: 'input_audio'"),
        ([user({"type": "image_url", "image_url": {}})], "messages[0].content[0].image_url.url"),
        ([user({"type": "input_image", "file_id": "f"})], "messages[0].content[0].file_id"),
        ([user({"type": "image_url", "image_url": 3})], "messages[0].content[0].image_url"),
        ([user({"type": "text"})], "messages[0].content[0].text"),
        ([HI, {"role": "assistant", "tool_calls": [{"id": "x"}]}, HI], "messages[1].tool_calls[0].function"),
        ([HI, {"type": "item_reference", "id": "x"}], "messages[1].type: 'item_reference'"),
    ],
)
def test_what_cannot_be_had_is_named(messages: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(ApiError) as raised:
        read(*messages)
    assert raised.value.message.startswith(named)
    assert raised.value.status == 400


WEATHER = {"name": "weather", "description": "How it is.", "parameters": {"type": "object", "properties": {}}}


def test_functions_are_described_in_the_system_turn() -> None:
    tools = [{"type": "function", "function": WEATHER}]
    request = read(HI, tools=tools)
    role, words = said(request)[0]
    assert role == "system" and words.startswith(DEFAULT_SYSTEM + "\n\nYou can call functions.")
    assert '"name": "weather", "description": "How it is."' in words
    assert "wasn't trained" in (request.warning or "")
    own = read({"role": "system", "content": "Be brief."}, HI, tools=tools)
    assert said(own)[0][1].startswith("Be brief.\n\nYou can call functions.")
    none = read(HI, tools=[*tools, {"type": "web_search"}], tool_choice="none")
    assert (said(none), none.tools, none.warning) == ([("user", "hi")], None, None)


def test_functions_may_be_chosen_in_every_form() -> None:
    named = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    flat = [{"type": "function", "name": name} for name in ("f", "g")]
    choices: dict[str, Any] = {
        "auto f g": "auto", "required f g": "required", "required g": {"type": "function", "function": {"name": "g"}},
        "auto g": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named[1]]}},
    }  # fmt: skip
    for expected, choice in choices.items():
        use = read(HI, tools=named, tool_choice=choice).tools
        assert use is not None
        assert " ".join([use.mode.value, *(tool.name for tool in use.tools)]) == expected
    for choice in (
        {"type": "function", "name": "g"},
        {"type": "allowed_tools", "mode": "required", "tools": [flat[1]]},
    ):
        use = read_response({"model": "tiny", "input": "hi", "tools": flat, "tool_choice": choice}, RULES).tools
        assert use is not None and [tool.name for tool in use.tools] == ["g"] and use.mode.value == "required"
