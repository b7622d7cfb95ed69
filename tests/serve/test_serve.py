"""The server as a process, asked by the official client of OpenAI and by plain HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import openai
import pytest
from huggingface_hub import InferenceClient
from PIL import Image
from starlette.requests import Request

from omnilmm_lite import load
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import DeviceChoice
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.serve.access import Access
from omnilmm_lite.serve.app import Server
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.model.facts import ModelFacts
from omnilmm_lite.serve.request_checker import RequestChecker
from tests.serve.serving import CHAT, PICTURES, chunks, client, data_url, question
from tests.serve.serving import http as http
from tests.serve.serving import official as official

CAT = PICTURES / "cat.png"
GREEDY = {"greedy": True, "repetition_penalty": 1.1}


def test_the_official_client_gets_the_models_own_answer(official: openai.OpenAI) -> None:
    answer = official.chat.completions.create(**question("What is this?", data_url(CAT)))
    expected = load().chat(image=CAT).ask("What is this?", greedy=True)
    assert answer.choices[0].message.content == expected
    assert answer.choices[0].finish_reason == "stop"
    assert (
        answer.usage is not None
        and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    )


def test_the_official_client_streams(official: openai.OpenAI) -> None:
    asked = question("What is this?", data_url(CAT))
    whole = official.chat.completions.create(**asked)
    stream = list(official.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream[:-1]) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in stream[:-1] if chunk.choices[0].finish_reason] == ["stop"]
    assert stream[-1].choices == [] and stream[-1].usage is not None
    assert stream[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_another_client_asks_and_streams(http: httpx.Client) -> None:
    """Hugging Face's, which shares no code with OpenAI's."""
    other = InferenceClient(base_url=f"{http.base_url}/v1", api_key="none")
    asked = question("What is this?", data_url(CAT))
    whole = other.chat.completions.create(**asked)
    assert whole.choices[0].message.content == load().chat(image=CAT).ask("What is this?", greedy=True)
    stream = other.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content


def test_the_models_are_listed(official: openai.OpenAI) -> None:
    assert [model.id for model in official.models.list()] == ["tiny"]
    assert official.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        official.models.retrieve("gpt-4o")
    with pytest.raises(openai.NotFoundError):
        official.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])


def test_a_conversation_goes_on_and_the_picture_is_not_encoded_again(http: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "new.png"
    with Image.open(CAT) as image:
        changed = image.convert("RGB")
    changed.putpixel((0, 0), (1, 2, 3))
    changed.save(path)
    first = http.post(CHAT, json=question("What is this?", data_url(path))).json()
    assert first["timings"]["vision_s"] > 0
    more = question("What is this?", data_url(path))
    more["messages"] += [first["choices"][0]["message"], {"role": "user", "content": "What colour is it?"}]
    second = http.post(CHAT, json=more).json()
    assert second["timings"]["vision_s"] == 0
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > first["usage"]["prompt_tokens"] / 2
    changed.putpixel((0, 0), (4, 5, 6))
    changed.save(path)
    assert http.post(CHAT, json=question("What is this?", data_url(path))).json()["timings"]["vision_s"] > 0


def test_lengths_stops_and_seeds_are_honoured(http: httpx.Client) -> None:
    url = data_url(CAT)
    for name in ("max_tokens", "max_completion_tokens"):
        short = http.post(CHAT, json=question("What is this?", url, **{name: 2})).json()
        assert short["usage"]["completion_tokens"] == 2
        assert short["choices"][0]["finish_reason"] == "length"
    whole = http.post(CHAT, json=question("What is this?", url)).json()["choices"][0]["message"]["content"]
    word = whole.split()[1]
    stopped = http.post(CHAT, json=question("What is this?", url, stop=word)).json()["choices"][0]
    assert stopped["message"]["content"] == whole[: whole.index(word)]
    assert stopped["finish_reason"] == "stop"
    drawn = [
        http.post(CHAT, json=question("Describe it.", url) | {"temperature": 1.5, "seed": 7}).json() for _ in range(2)
    ]
    assert drawn[0]["choices"] == drawn[1]["choices"]


def test_an_answer_keeps_to_its_schema(official: openai.OpenAI) -> None:
    """Of JSON Schema as jsonschema has it; the model, asked like this, says nothing of the kind on its own."""
    properties = {"name": {"enum": ["dog", "cat"]}, "count": {"type": "integer", "minimum": 1, "maximum": 3}}
    schema = {"type": "object", "properties": properties, "required": ["name", "count"], "additionalProperties": False}
    form: Any = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}
    for seed in range(8):
        asked = question("What is this?", data_url(CAT), seed=seed) | {"temperature": 1.5}
        answer = official.chat.completions.create(**asked, response_format=form)
        assert answer.choices[0].finish_reason == "stop"
        jsonschema.validate(json.loads(answer.choices[0].message.content or ""), schema)


def test_any_object_is_json(http: httpx.Client) -> None:
    form = {"type": "json_object"}
    answer = http.post(CHAT, json=question("What is this?", data_url(CAT), response_format=form, max_tokens=200)).json()
    text, ended = answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]
    assert text.startswith("{")
    assert ended == "length" or isinstance(json.loads(text), dict)


def test_phases_come_before_the_text(http: httpx.Client) -> None:
    response = http.post(CHAT, json=question("What is this?", data_url(CAT), stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    comments = [line for line in response.text.splitlines() if line.startswith(":")]
    assert comments and all(line.split()[1] in ("queued", "encode", "prefill") for line in comments)
    assert chunks(response)[-1]["timings"]["new_tokens"] > 0


def test_health_says_what_is_used(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert health["status"] == "ok" and health["model"] == "tiny" and health["device"]["device"] == "cpu"
    assert health["queue"] == {"running": 0, "waiting": 0, "limit": 16}


def test_health_says_which_card() -> None:
    model = load()
    model.device = DeviceChoice(Placement.on(DeviceId(Device.CUDA, 1)), "asked for")
    engine = Engine(model, 1)
    try:
        server = Server(engine, RequestChecker(ModelFacts.of(model), "tiny", None), Access())
        answer = asyncio.run(server.health(Request({"type": "http"})))
    finally:
        engine.close(0)
    assert json.loads(bytes(answer.body))["device"] == {"device": "cuda:1", "reason": "asked for"}


def test_many_at_once_get_what_one_gets(http: httpx.Client) -> None:
    asked = [question("What is this?", data_url(path)) for path in sorted(PICTURES.glob("*.png"))[:4]]
    alone = [http.post(CHAT, json=each).json()["choices"] for each in asked]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda i: http.post(CHAT, json=asked[i % len(asked)]).json(), range(32)))
    assert [answer["choices"] for answer in together] == [alone[i % len(asked)] for i in range(32)]


@pytest.fixture(scope="module")
def slow() -> Iterator[httpx.Client]:
    with client("--queue", "2", module="tests.serve.slow_server") as http:
        yield http


def idle(http: httpx.Client) -> None:
    """Waits until nothing runs or waits."""
    started = time.perf_counter()
    while (queue := http.get("/health").json()["queue"])["running"] or queue["waiting"]:
        assert time.perf_counter() - started < 20
        time.sleep(0.02)


@pytest.mark.parametrize("phase", [": encode", ": prefill", "data: "])
def test_a_client_that_leaves_frees_the_model(slow: httpx.Client, phase: str) -> None:
    """By the answer's long length it would run for half a minute else."""
    asked = question("Describe it. " + phase, data_url(PICTURES / "cat.png"), stream=True)
    with slow.stream("POST", CHAT, json=asked) as response:
        for line in response.iter_lines():
            if line.startswith(phase) or line.startswith("data: "):
                break
    idle(slow)
    assert slow.post(CHAT, json=question("hi", max_tokens=1)).status_code == 200


def test_beyond_the_bound_clients_are_sent_away_for_a_while(slow: httpx.Client) -> None:
    idle(slow)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: slow.post(CHAT, json=question("hi", max_tokens=3)), range(6)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "queue_full"
