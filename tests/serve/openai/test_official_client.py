"""OpenAI's own client, sync and async, whole and streamed, at each endpoint. What it is told is held against the model
itself, asked without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import numpy as np
import openai
import pytest
import torch

from omnilmm_lite import load
from omnilmm_lite.model import Model
from tests.serve.serving import CHAT, PICTURES, chunks, data_url, question
from tests.serve.serving import http as http
from tests.serve.serving import official as official

CAT, OWL = PICTURES / "cat.png", PICTURES / "owl-on-a-photo.jpg"
CITY = {"type": "string", "enum": ["Paris", "Rome"]}
PARAMETERS = {
    "type": "object", "properties": {"city": {"$ref": "#/$defs/city"}}, "required": ["city"],
    "additionalProperties": False, "$defs": {"city": CITY},
}  # fmt: skip
WEATHER = {"name": "weather", "description": "How the weather is.", "parameters": PARAMETERS}
CALLING: Any = {"tools": [{"type": "function", "function": WEATHER}], "tool_choice": "required"}
FLAT: Any = {"tools": [{"type": "function", **WEATHER}], "tool_choice": "required"}


@pytest.fixture
def asynchronous(http: httpx.Client) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def model() -> Model:
    return load()


def token_ids(model: Model, text: str) -> list[int]:
    """Of an answer's words, without the boundary that the tokenizer may put before a text's first one."""
    tokenizer = model.text.tokenizer
    return [token for token in tokenizer.encode_text(text) if tokenizer.token_bytes(token).strip()]


# ---- several answers ----


def test_several_answers_are_those_of_their_seeds(official: openai.OpenAI) -> None:
    asked: Any = question("Describe it.", data_url(CAT)) | {"temperature": 2.0, "max_tokens": 12}
    together = official.chat.completions.create(**asked, n=3, seed=7)
    alone = [official.chat.completions.create(**asked, seed=7 + index) for index in range(3)]
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    assert [choice.message.content for choice in together.choices] == [
        each.choices[0].message.content for each in alone
    ]
    assert len({choice.message.content for choice in together.choices}) > 1
    assert together.usage is not None and alone[0].usage is not None
    assert together.usage.prompt_tokens == alone[0].usage.prompt_tokens
    assert together.usage.completion_tokens == sum(each.usage.completion_tokens for each in alone if each.usage)
    texts = ["", "", ""]
    ended = []
    for chunk in official.chat.completions.create(**asked, n=3, seed=7, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ended += [choice.index] if choice.finish_reason else []
    assert texts == [choice.message.content for choice in together.choices] and ended == [0, 1, 2]


# ---- log-probabilities and bias ----


def test_log_probabilities_are_those_of_the_models_logits(official: openai.OpenAI, model: Model) -> None:
    """By torch's log-softmax over the logits of the whole conversation, the answer as it was given."""
    asked: Any = question("What is this?", data_url(CAT), logprobs=True, top_logprobs=3)
    answer = official.chat.completions.create(**asked, seed=3)
    choice = answer.choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    tokens = choice.logprobs.content
    assert "".join(each.token for each in tokens) == choice.message.content
    assert b"".join(bytes(each.bytes or []) for each in tokens).decode() == choice.message.content
    messages = [{"role": "user", "content": "What is this?"}]
    prompt = model.encode_chat(messages, image=True)
    said = token_ids(model, choice.message.content or "")
    logits = model.logits(prompt + said, model.encode_image(CAT), answer_start=len(prompt))
    expected = torch.from_numpy(logits[len(prompt) - 1 : -1]).double().log_softmax(-1)
    for row, token, each in zip(expected, said, tokens, strict=True):
        assert each.logprob == pytest.approx(float(row[token]), abs=1e-4)
        top = row.topk(3)
        assert [other.logprob for other in each.top_logprobs] == pytest.approx(top.values.tolist(), abs=1e-4)
        texts = [model.text.tokenizer.token_bytes(int(i)).decode() for i in top.indices]
        assert [other.token.strip() for other in each.top_logprobs] == [text.strip() for text in texts]
    streamed = [
        each
        for chunk in official.chat.completions.create(**asked, seed=3, stream=True)
        for choice in chunk.choices
        for each in (choice.logprobs.content or [] if choice.logprobs else [])
    ]
    assert [each.token for each in streamed] == [each.token for each in tokens]


def test_a_bias_bans_and_forces_tokens(official: openai.OpenAI, model: Model) -> None:
    asked: Any = question("What is this?", data_url(CAT), max_tokens=3)
    usual = official.chat.completions.create(**asked).choices[0].message.content or ""
    first = token_ids(model, usual)[0]
    banned = official.chat.completions.create(**asked, logit_bias={str(first): -100})
    assert not (banned.choices[0].message.content or "").startswith(usual.split()[0])
    forced = token_ids(model, "This is")[1]
    answer = official.chat.completions.create(**asked, logit_bias={str(forced): 100})
    assert answer.choices[0].message.content == "is is is"
    plain = official.completions.create(model="tiny", prompt="This", max_tokens=3, logit_bias={str(forced): 100})
    assert plain.choices[0].text == " is is is"  # the text goes on, and its first space is the model's


# ---- pictures in later turns ----


def test_a_picture_in_a_later_turn_is_answered_as_one_in_the_first(http: httpx.Client) -> None:
    hello = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello!"}]
    part = {"type": "image_url", "image_url": {"url": data_url(OWL)}}
    ask = {"type": "text", "text": "Is there an owl?"}
    late = [*hello, {"role": "user", "content": [ask, part]}]
    early = [{"role": "user", "content": [part, {"type": "text", "text": "hi"}]}, hello[1],
             {"role": "user", "content": [ask]}]  # fmt: skip
    body = question("") | {"messages": late}
    found = http.post(CHAT, json=body).json()
    expected = http.post(CHAT, json=body | {"messages": early}).json()
    assert found["choices"] == expected["choices"] and "owl" in found["choices"][0]["message"]["content"]
    assert "put first in the conversation" in found["warning"] and "warning" not in expected
    streamed = chunks(http.post(CHAT, json=body | {"stream": True}))
    assert ["warning" in chunk for chunk in streamed] == [True] + [False] * (len(streamed) - 1)


# ---- functions ----


def test_a_call_keeps_to_its_functions_schema(official: openai.OpenAI) -> None:
    for seed in range(4):
        asked: Any = question("The weather?", seed=seed) | {"temperature": 1.5}
        choice = official.chat.completions.create(**asked, **CALLING).choices[0]
        assert choice.finish_reason == "tool_calls" and choice.message.content is None
        (call,) = choice.message.tool_calls or []
        assert call.type == "function" and call.function.name == "weather" and call.id.startswith("call_")
        jsonschema.validate(json.loads(call.function.arguments), PARAMETERS)


def test_a_call_is_streamed(official: openai.OpenAI) -> None:
    asked: Any = question("The weather?")
    whole = official.chat.completions.create(**asked, **CALLING).choices[0].message.tool_calls
    with official.chat.completions.stream(**asked, **CALLING) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_completion().choices[0]
    assert whole is not None and streamed.message.tool_calls is not None
    assert streamed.message.tool_calls[0].function.arguments == whole[0].function.arguments
    assert streamed.finish_reason == "tool_calls" and "tool_calls.function.arguments.done" in kinds
    assert "wasn't trained" in (official.chat.completions.create(**asked, **CALLING).model_extra or {})["warning"]


def test_words_are_words_where_no_call_has_to_be(official: openai.OpenAI) -> None:
    asked: Any = question("What can you do?", tools=CALLING["tools"])
    whole = official.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "stop" and whole.message.content and not whole.message.tool_calls
    stream = official.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.message.content


def test_a_call_is_one_where_words_are_allowed_too(official: openai.OpenAI, model: Model) -> None:
    """The model is made to begin with a brace."""
    (brace,) = token_ids(model, "{")
    asked: Any = question("The weather?", tools=CALLING["tools"], logit_bias={str(brace): 100})
    whole = official.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "tool_calls" and whole.message.tool_calls
    jsonschema.validate(json.loads(whole.message.tool_calls[0].function.arguments), PARAMETERS)


def test_what_is_no_call_keeps_to_its_schema(official: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS | {"required": []}}}
    kinds = set()
    for seed in range(8):
        asked: Any = question("The weather?", seed=seed) | {"temperature": 3.0, "top_p": 1, "top_k": 0}
        asked["extra_body"] = {"top_k": asked.pop("top_k")}
        choice = official.chat.completions.create(**asked, tools=CALLING["tools"], response_format=form).choices[0]
        kinds.add(choice.finish_reason)
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content or ""), PARAMETERS | {"required": []})
    assert kinds == {"stop", "tool_calls"}


def test_a_functions_result_is_answered(official: openai.OpenAI) -> None:
    asked: Any = question("The weather?")
    message = official.chat.completions.create(**asked, **CALLING).choices[0].message
    assert message.tool_calls
    asked["messages"] += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
    answer = official.chat.completions.create(**asked, tools=CALLING["tools"]).choices[0]
    assert answer.message.content


def test_a_call_that_is_cut_off_says_so(official: openai.OpenAI) -> None:
    asked: Any = question("The weather?", max_tokens=30)
    choice = official.chat.completions.create(**asked, **CALLING).choices[0]
    assert choice.finish_reason == "length" and choice.message.tool_calls
    partial = choice.message.tool_calls[0].function.arguments
    assert partial and json.dumps({"city": "Paris"}).startswith(partial)


# ---- completions ----


def continued(model: Model, text: str, count: int) -> list[int]:
    """The best next tokens, one by one, by the logits of the whole text each time."""
    ids = [model.config.tokens.bos, *model.text.tokenizer.encode_text(text)]
    start = len(ids)
    while len(ids) < start + count:
        ids.append(int(np.argmax(model.logits(ids, answer_start=start)[-1])))
    return ids[start:]


def test_a_completion_goes_on_with_the_plain_text(official: openai.OpenAI, model: Model) -> None:
    prompts = ["The picture shows", "A"]
    asked: Any = {"model": "tiny", "temperature": 0, "max_tokens": 4, "extra_body": {"repetition_penalty": 1}}
    answer = official.completions.create(prompt=prompts, logprobs=2, **asked)
    for prompt, choice in zip(prompts, answer.choices, strict=True):
        said = continued(model, prompt, 4)
        expected = b"".join(map(model.text.tokenizer.token_bytes, said)).decode()
        assert choice.text == expected
        assert choice.logprobs is not None and "".join(choice.logprobs.tokens or []) == expected
        assert (choice.logprobs.text_offset or [])[:2] == [0, len((choice.logprobs.tokens or [""])[0])]
    stream = list(official.completions.create(prompt=prompts, logprobs=2, stream=True, **asked))
    for index, choice in enumerate(answer.choices):
        mine = [chunk.choices[0] for chunk in stream if chunk.choices and chunk.choices[0].index == index]
        assert "".join(each.text for each in mine) == choice.text
        offsets = [offset for each in mine if each.logprobs for offset in each.logprobs.text_offset or []]
        assert choice.logprobs is not None and offsets == choice.logprobs.text_offset
    echoed = official.completions.create(prompt=prompts[0], echo=True, **asked)
    assert echoed.choices[0].text == prompts[0] + answer.choices[0].text
    ids = [model.config.tokens.bos, *model.text.tokenizer.encode_text(prompts[0])]
    assert official.completions.create(prompt=ids, **asked).choices[0].text == answer.choices[0].text


# ---- responses ----

LOOK: Any = {
    "model": "tiny", "temperature": 0,
    "input": [{"role": "user", "content": [{"type": "input_image", "image_url": data_url(CAT), "detail": "auto"},
                                           {"type": "input_text", "text": "What is this?"}]}],
}  # fmt: skip
BEGIN, END = ["response.created", "response.in_progress", "response.output_item.added"], ["response.output_item.done"]


def test_a_response_is_the_models_answer(official: openai.OpenAI, model: Model) -> None:
    response = official.responses.create(**LOOK)
    assert response.output_text == model.chat(image=CAT).ask("What is this?", greedy=True)
    assert response.status == "completed" and response.error is None
    assert response.usage is not None and response.usage.total_tokens > response.usage.input_tokens > 30
    plain = official.responses.create(model="tiny", temperature=0, input="What can you do?", instructions="Be kind.")
    expected = model.chat(system="Be kind.").ask("What can you do?", greedy=True)
    assert plain.output_text == expected and plain.instructions == "Be kind."
    short = official.responses.create(**LOOK, max_output_tokens=2)
    assert short.status == "incomplete" and short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"


def test_a_responses_events_come_in_the_official_order(official: openai.OpenAI, model: Model) -> None:
    with official.responses.stream(**LOOK) as stream:
        events = list(stream)
        response = stream.get_final_response()
    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    text = ["response.content_part.added", *["response.output_text.delta"] * deltas, "response.output_text.done",
            "response.content_part.done"]  # fmt: skip
    assert kinds == [*BEGIN, *text, *END, "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert response.output_text == model.chat(image=CAT).ask("What is this?", greedy=True)
    short = list(official.responses.create(**LOOK, max_output_tokens=2, stream=True))
    assert short[-1].type == "response.incomplete"
    assert short[-1].response.incomplete_details is not None


def test_a_responses_call_is_streamed(official: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "temperature": 0, "input": "The weather?", **FLAT}
    (whole,) = official.responses.create(**asked).output
    assert whole.type == "function_call" and whole.name == "weather" and whole.status == "completed"
    jsonschema.validate(json.loads(whole.arguments), PARAMETERS)
    with official.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        (streamed,) = stream.get_final_response().output
    deltas = kinds.count("response.function_call_arguments.delta")
    call = [*["response.function_call_arguments.delta"] * deltas, "response.function_call_arguments.done"]
    assert kinds == [*BEGIN, *call, *END, "response.completed"] and deltas > 1
    assert streamed.type == "function_call" and streamed.arguments == whole.arguments
    asked["input"] = [{"role": "user", "content": "The weather?"}, whole.to_dict(),
                      {"type": "function_call_output", "call_id": whole.call_id, "output": "sunny"}]  # fmt: skip
    asked |= {"tool_choice": "none"}
    assert official.responses.create(**asked).output_text


def test_a_response_keeps_to_its_schema(official: openai.OpenAI) -> None:
    schema: Any = {"type": "json_schema", "name": "place", "schema": PARAMETERS, "strict": True}
    response = official.responses.create(**LOOK, text={"format": schema})
    jsonschema.validate(json.loads(response.output_text), PARAMETERS)


def test_a_response_says_its_log_probabilities(official: openai.OpenAI) -> None:
    asked: Any = LOOK | {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    response = official.responses.create(**asked)
    part = response.output[0].content[0]
    assert "".join(each.token for each in part.logprobs) == response.output_text
    deltas = [event for event in official.responses.create(**asked, stream=True)
              if event.type == "response.output_text.delta"]  # fmt: skip
    assert "".join(each.token for delta in deltas for each in delta.logprobs) == response.output_text


# ---- the asynchronous client ----


def test_the_asynchronous_client_gets_the_same(official: openai.OpenAI, asynchronous: openai.AsyncOpenAI) -> None:
    asked: Any = question("What is this?", data_url(CAT))
    prompt: Any = {"model": "tiny", "prompt": "This is", "max_tokens": 4, "temperature": 0}

    async def ask() -> list[str]:
        chat = [chunk async for chunk in await asynchronous.chat.completions.create(**asked, stream=True)]
        plain = [chunk async for chunk in await asynchronous.completions.create(**prompt, stream=True)]
        async with asynchronous.responses.stream(**LOOK) as stream:
            response = await stream.get_final_response()
        together = await asyncio.gather(*(asynchronous.chat.completions.create(**asked) for _ in range(3)))
        texts = [each.choices[0].message.content or "" for each in together]
        await asynchronous.close()
        return [
            "".join(chunk.choices[0].delta.content or "" for chunk in chat if chunk.choices),
            "".join(chunk.choices[0].text for chunk in plain if chunk.choices), response.output_text, *texts,
        ]  # fmt: skip

    said = official.chat.completions.create(**asked).choices[0].message.content
    expected = [said, official.completions.create(**prompt).choices[0].text, said, said, said, said]
    assert asyncio.run(ask()) == expected


def test_what_this_model_cannot_do_is_said(official: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="makes no embeddings"):
        official.embeddings.create(model="tiny", input="hi")
