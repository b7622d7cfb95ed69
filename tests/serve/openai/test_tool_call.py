"""Calls taken out of the model's JSON, however it comes in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.serve.openai.tool_call import ToolCallText, taken_apart
from omnilmm_lite.serve.request.tools import Tool, ToolMode, ToolUse

TOOLS = ToolUse((Tool("f", "", {}), Tool("fg", "", {})), ToolMode.AUTO)
ARGUMENTS = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=6), max_size=3)


@given(st.sampled_from(["f", "fg"]), ARGUMENTS, st.data())
def test_a_call_in_pieces(name: str, arguments: dict[str, object], data: st.DataObject) -> None:
    text = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    call = ToolCallText(["f", "fg"])
    pushed = [call.push(piece) for piece in pieces]
    pushed.append(call.finish(whole=True))
    assert "".join(words for words, _ in pushed) == "" and call.name == name
    assert json.loads("".join(said for _, said in pushed)) == arguments


@pytest.mark.parametrize("text", ["", "A cat.", "{", '{"name": "x"}', '{"name": "f"}', '{"name": "h", "arguments": {}}',
                                  '{"colour": "red"}', ' {"name": "f", "arguments": {}}'])  # fmt: skip
def test_anything_else_is_words(text: str) -> None:
    words, call, arguments = taken_apart(text, TOOLS, whole=True)
    assert (words, call.name, arguments) == (text, None, "")
    in_pieces = ToolCallText(["f", "fg"])
    pushed = [in_pieces.push(character) for character in text] + [in_pieces.finish(whole=True)]
    assert "".join(words for words, _ in pushed) == text


def test_a_call_that_is_cut_off_keeps_its_braces() -> None:
    _, call, arguments = taken_apart('{"name": "f", "arguments": {"a": {"b": 1}', TOOLS, whole=False)
    assert (call.name, arguments) == ("f", '{"a": {"b": 1}')
