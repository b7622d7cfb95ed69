"""Fields that are honoured under any name, harmless, unknown or refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.completion_request import read_completion
from omnilmm_lite.serve.request.responses_request import read_response
from omnilmm_lite.serve.request.sampling import seeds
from omnilmm_lite.serve.request.tables import HARMLESS, NEARLY, ONLY

RULES = ReadingRules(SamplingParams(seed=5), context=2048, vocab_size=32009)
STRICT = dataclasses.replace(RULES, strict=True)
TURN = {"role": "user", "content": "hi"}


def read(rules: ReadingRules = RULES, /, **fields: Any) -> AnswerRequest:
    return read_chat({"model": "tiny", "messages": [TURN], **fields}, rules)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"repeat_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"num_predict": 9}, {"max_new_tokens": 9}),
        ({"n_predict": 9.0}, {"max_new_tokens": 9}),
        ({"max_output_tokens": 9}, {"max_new_tokens": 9}),
        ({"max_completion_tokens": 9, "max_tokens": 9}, {"max_new_tokens": 9}),
        ({"max_tokens": -1}, {"max_new_tokens": 2048}),
        ({"num_predict": -2}, {"max_new_tokens": 2048}),
        ({"seed": -1}, {"seed": None}),
        ({"seed": None}, {"seed": 5}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"top_p": 0, "temperature": 0.7}, {"temperature": 0.0}),
        ({"temperature": 0, "min_p": 0.1}, {"temperature": 0.0, "min_p": 0.1}),
    ],
)
def test_sampling_by_any_name(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**fields).params == dataclasses.replace(RULES.defaults, **expected)
    assert read(STRICT, **fields).warning is None


def test_two_names_that_disagree_are_refused() -> None:
    with pytest.raises(ApiError) as raised:
        read(repeat_penalty=1.1, repetition_penalty=1.2)
    assert raised.value.message == "repeat_penalty: it differs from repetition_penalty; give one of them"


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_harmless_fields_are_taken_whatever_they_hold(name: str) -> None:
    values: list[Any] = [True, -1, "x", [], {"a": ["b"]}]
    for value in values:
        assert read(STRICT, **{name: value}).warning is None


@pytest.mark.parametrize(("name", "values"), ONLY.items())
def test_what_would_change_the_answer_is_refused_unless_it_asks_for_nothing(name: str, values: tuple[Any, ...]) -> None:
    for value in (None, *values):
        assert read(STRICT, **{name: value}).warning is None
    with pytest.raises(ApiError) as raised:
        read(RULES, **{name: {"some": "thing"}})
    assert raised.value.message.startswith(f"{name}: this server doesn't support it")
    assert raised.value.param == name


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_done_here_is_passed_over_with_a_word(name: str) -> None:
    assert read(STRICT, **{name: 64}).warning == f"{name}: passed over; {NEARLY[name]}"


def test_a_value_that_asks_for_nothing_is_of_its_own_type() -> None:
    """As Python has it, false is equal to 0."""
    assert read(min_tokens=0).warning is None and read(typical_p=1.0).warning is None
    for fields in ({"min_tokens": False}, {"use_beam_search": 0}):
        with pytest.raises(ApiError, match="doesn't support it"):
            read(RULES, **fields)


@pytest.mark.parametrize(("name", "value"), [("instructions", "Be brief."), ("prompt", "a"), ("input", "a")])
def test_what_another_endpoint_takes_is_not_passed_over(name: str, value: str) -> None:
    with pytest.raises(ApiError, match="doesn't support it"):
        read(RULES, **{name: value})


def test_what_nobody_knows_is_passed_over_with_a_warning_or_refused() -> None:
    known = {"unheard_of": 1, "\x1b[2J": 2}
    assert read(RULES, **known).warnings == tuple(
        f"{name}: this server doesn't know it, and has passed it over" for name in ("unheard_of", r"\x1b[2J")
    )
    within = read_chat({"model": "tiny", "messages": [{**TURN, "mood": "good"}]}, RULES)
    assert (within.warning or "").startswith("messages[0].mood: ")
    with pytest.raises(ApiError) as raised:
        read(STRICT, unheard_of=1)
    assert raised.value.message.startswith("unheard_of: this server doesn't know it; leave it out")
    assert raised.value.code == "unknown_parameter"
    with pytest.raises(ApiError):
        read_chat({"model": "tiny", "messages": [{**TURN, "mood": "good"}]}, STRICT)


def test_a_thousand_warnings_are_a_line() -> None:
    warnings = read(RULES, **{f"f{number}": 1 for number in range(1000)}).warnings
    assert len(warnings) == 9 and warnings[-1] == "and 992 more"


def test_a_bias_is_by_token() -> None:
    assert read(logit_bias={"7": -100, "31000": 2.5}).logit_bias == {7: -100.0, 31000: 2.5}
    assert read(logit_bias={}).logit_bias == {} and read(logit_bias=None).logit_bias == {}


def test_log_probabilities_are_asked_for_in_three_ways() -> None:
    assert read().top_logprobs is None and read(logprobs=False, top_logprobs=0).top_logprobs is None
    assert read(logprobs=True).top_logprobs == 0 and read(logprobs=True, top_logprobs=4).top_logprobs == 4
    prompt = {"model": "tiny", "prompt": "hi"}
    assert read_completion(prompt, RULES).top_logprobs is None
    assert read_completion(prompt | {"logprobs": 3}, RULES).top_logprobs == 3
    asked = {"model": "tiny", "input": "hi"}
    assert read_response(asked, RULES).top_logprobs is None
    assert read_response(asked | {"include": ["message.output_text.logprobs"]}, RULES).top_logprobs == 0
    assert read_response(asked | {"top_logprobs": 2}, RULES).top_logprobs == 2


def test_a_seed_is_counted_on() -> None:
    assert [each.seed for each in seeds(SamplingParams(seed=2**64 - 1), 3)] == [2**64 - 1, 0, 1]
    assert [each.seed for each in seeds(SamplingParams(), 2)] == [None, None]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("hi", ("hi",)), ("", ("",)), (["a", "b"], ("a", "b")), ([5, 6], ([5, 6],)), ([[5, 6], [7]], ([5, 6], [7])),
     (["a", [7]], ("a", [7]))],
)  # fmt: skip
def test_prompts_of_every_form(prompt: Any, expected: tuple[Any, ...]) -> None:
    assert read_completion({"model": "tiny", "prompt": prompt}, RULES).prompts == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": []}, "prompt"), ({}, "prompt"), ({"prompt": 3}, "prompt"), ({"prompt": [["a"]]}, "prompt[0]"),
        ({"prompt": [True]}, "prompt[0]"), ({"prompt": [32009]}, "prompt[0]"), ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": ["a"] * 33}, "prompt"), ({"prompt": ["a"] * 4, "n": 9}, "n"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"), ({"prompt": "a", "echo": True, "logprobs": 1}, "echo"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"), ({"prompt": "\ud800"}, "prompt[0]"),
    ],
)  # fmt: skip
def test_completions_name_what_is_wrong(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ApiError) as raised:
        read_completion({"model": "tiny", **fields}, RULES)
    assert raised.value.message.split(":")[0] == named


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "input"), ({"input": []}, "input"), ({"input": 3}, "input"), ({"input": [3]}, "input[0]"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "a", "background": True}, "background"), ({"input": "a", "conversation": "c"}, "conversation"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": "a", "text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"input": "a", "include": [3]}, "include"), ({"input": "a", "instructions": [3]}, "instructions"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
    ],
)  # fmt: skip
def test_responses_name_what_is_wrong(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ApiError) as raised:
        read_response({"model": "tiny", **fields}, RULES)
    assert raised.value.message.split(":")[0] == named
