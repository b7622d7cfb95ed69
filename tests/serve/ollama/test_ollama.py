"""Ollama's API by plain HTTP; its official client is in tests/clients."""

from __future__ import annotations

import base64
import json
import math
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from omnilmm_lite import load
from omnilmm_lite.answer.generation import FinishReason, Timings
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished
from omnilmm_lite.serve.ollama.durations import read_keep_alive
from omnilmm_lite.serve.ollama.form import OllamaForm, Shape
from omnilmm_lite.serve.request.answer_request import AnswerRequest
from tests.serve.serving import PICTURES, WAIT_S, client

CHAT, GENERATE = "/api/chat", "/api/generate"
CAT = PICTURES / "cat.png"
PICTURE = base64.b64encode(CAT.read_bytes()).decode()
GREEDY = {"temperature": 0}
ENDLESS = {"temperature": 2, "num_predict": 2000}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    options = ("--model", "tiny", "--alias", "llava:7b", "--idle-unload", "60")
    with client(*options, module="tests.clients.endless_server") as http:
        yield http


def chat(text: str, *images: str, **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text, **({"images": list(images)} if images else {})}
    return {"model": "tiny", "messages": [message], "options": GREEDY, "stream": False, **fields}


def lines(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_stream_is_a_line_of_json_a_piece(http: httpx.Client) -> None:
    asked = {"model": "tiny:latest", "messages": [{"role": "user", "content": "What is this?", "images": [PICTURE]}]}
    found = lines(http.post(CHAT, json={**asked, "options": GREEDY}))  # it streams unless told otherwise
    expected = load().chat(image=CAT).ask("What is this?", greedy=True)
    assert "".join(line["message"]["content"] for line in found) == expected
    assert [line["done"] for line in found] == [False] * (len(found) - 1) + [True]
    assert all(line["model"] == "tiny:latest" and line["message"]["role"] == "assistant" for line in found)
    last = found[-1]
    assert datetime.fromisoformat(last["created_at"]).tzinfo is not None
    assert last["done_reason"] == "stop" and last["eval_count"] > 3 and last["prompt_eval_count"] > 3


def test_durations_are_in_nanoseconds() -> None:
    """The picture's encoding is part of the prompt's; the queue is in the total alone."""
    request = AnswerRequest("tiny", SamplingParams(), messages=[{"role": "user", "content": "hi"}])
    timings = Timings(prompt_tokens=70, prefill_tokens=9, new_tokens=5, prefill_s=2.0, decode_s=3.0)
    finished = Finished(FinishReason.STOP, queue_s=0.25, vision_s=1.5, timings=timings, load_s=0.5)
    last = json.loads(OllamaForm(Shape.CHAT, request).end([finished]))
    found = {name: last[f"{name}_duration"] for name in ("total", "load", "prompt_eval", "eval")}
    assert found == {"total": 7_250_000_000, "load": 500_000_000, "prompt_eval": 3_500_000_000, "eval": 3_000_000_000}
    assert (last["prompt_eval_count"], last["eval_count"]) == (70, 5)


def test_generate_asks_one_question(http: httpx.Client) -> None:
    expected = load().chat(image=CAT, system="Be brief.").ask("What is this?", greedy=True)
    asked: dict[str, Any] = {"model": "llava:7b", "prompt": "What is this?", "system": "Be brief.", "images": [PICTURE]}
    asked |= {"options": GREEDY}
    whole = http.post(GENERATE, json={**asked, "stream": False}).json()
    assert whole["response"] == expected and whole["model"] == "llava:7b" and whole["done"]
    assert "".join(line["response"] for line in lines(http.post(GENERATE, json=asked))) == expected


def test_a_body_may_come_as_curl_sends_it(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.post(CHAT, content=json.dumps(chat("What can you do?")), headers=headers)
    assert answer.json()["message"]["content"].startswith("I can")
    foreign = http.post(CHAT, content="{}", headers={**headers, "Origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_a_picture_with_the_head_of_an_address_is_taken(http: httpx.Client) -> None:
    bare, headed = (http.post(CHAT, json=chat("What is this?", head + PICTURE)).json()["message"]
                    for head in ("", "data:image/png;base64,"))  # fmt: skip
    assert bare == headed and "cat" in bare["content"]


def test_options_are_honoured(http: httpx.Client) -> None:
    short = http.post(CHAT, json=chat("What can you do?", options={**GREEDY, "num_predict": 2})).json()
    assert (short["eval_count"], short["done_reason"]) == (2, "length")
    stopped = http.post(CHAT, json=chat("What can you do?", options={**GREEDY, "stop": ["can"]})).json()
    assert stopped["message"]["content"].strip() == "I"
    drawn = chat("Describe it.", PICTURE, options={"temperature": 1, "seed": 3})
    assert http.post(CHAT, json=drawn).json()["message"] == http.post(CHAT, json=drawn).json()["message"]
    penalized = http.post(CHAT, json=chat("What can you do?", options={**GREEDY, "repeat_penalty": 9})).json()
    expected = load().chat().ask("What can you do?", greedy=True, repetition_penalty=9)
    assert penalized["message"]["content"] == expected


def test_what_changes_nothing_is_passed_over_with_a_word(http: httpx.Client) -> None:
    quiet: dict[str, Any] = {
        **GREEDY,
        "num_ctx": 512,
        "num_thread": 4,
        "num_gpu": 99,
        "mirostat": 0,
        "num_predict": -2,
        "seed": 0,
    }
    plain = http.post(CHAT, json=chat("What can you do?")).json()
    fields: dict[str, Any] = {"think": False, "keep_alive": "5m", "format": "", "tools": []}
    same = http.post(CHAT, json=chat("What can you do?", options=quiet, **fields)).json()
    assert same["message"] == plain["message"] and "warning" not in same
    loud = {**GREEDY, "num_ctx": 10**6, "repeat_last_n": 64, "unheard_of": 1}
    told = http.post(CHAT, json=chat("What can you do?", options=loud)).json()
    assert told["message"] == plain["message"]
    assert all(name in told["warning"] for name in ("num_ctx", "--context", "repeat_last_n", "unheard_of"))
    streamed = lines(http.post(CHAT, json=chat("hi", options=loud, stream=True)))
    assert streamed[-1]["warning"] == told["warning"]


def test_an_answer_keeps_to_its_format(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"name": {"enum": ["dog", "cat"]}}, "required": ["name"],
              "additionalProperties": False}  # fmt: skip
    answer = http.post(CHAT, json=chat("What is this?", PICTURE, format=schema)).json()["message"]["content"]
    jsonschema.validate(json.loads(answer), schema)
    assert (
        http.post(CHAT, json=chat("hi", format="json", options={"num_predict": 9}))
        .json()["message"]["content"]
        .startswith("{")
    )


def test_log_probabilities_come_token_by_token(http: httpx.Client) -> None:
    answer = http.post(CHAT, json=chat("What can you do?", logprobs=True, top_logprobs=2)).json()
    found = answer["logprobs"]
    assert len(found) == answer["eval_count"]
    assert "".join(each["token"] for each in found) == answer["message"]["content"]
    assert all(each["logprob"] <= 0 and len(each["top_logprobs"]) == 2 for each in found)


def test_calls_of_functions_and_their_answers_are_taken(http: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    call = {"function": {"name": "look", "arguments": {}}}
    messages = [
        {"role": "user", "content": "What is this?", "images": [PICTURE]},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "look", "content": "a cat"},
    ]
    answer = http.post(CHAT, json=chat("", messages=messages, tools=[tool]))
    assert answer.status_code == 200, answer.text
    message = answer.json()["message"]
    assert message["content"] or message["tool_calls"][0]["function"]["name"] == "look"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "gpt-4o"}, "'gpt-4o'"),
        ({"model": ""}, "model"),
        ({"think": True}, "thinking"),
        ({"options": {"mirostat": 2}}, "options.mirostat"),
        ({"options": {"temperature": -1}}, "temperature"),
        ({"options": []}, "options"),
        ({"format": "yaml"}, "format"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"stream": "yes"}, "stream"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "robot"),
        ({"messages": [{"role": "user", "content": "hi", "images": ["!!!!"]}]}, "base64"),
        ({"messages": [{"role": "user", "content": "hi", "images": "x"}]}, "images"),
        ({"messages": "hi"}, "messages"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(http: httpx.Client, fields: dict[str, Any], said: str) -> None:
    response = http.post(CHAT, json=chat("hi", **fields))
    assert 400 <= response.status_code < 500
    assert set(response.json()) == {"error"} and said in response.json()["error"]


@pytest.mark.parametrize("field", ["suffix", "template", "raw", "context"])
def test_generating_otherwise_is_refused_by_name(http: httpx.Client, field: str) -> None:
    value: Any = {"raw": True, "context": [1, 2]}.get(field, "x")
    response = http.post(GENERATE, json={"model": "tiny", "prompt": "hi", field: value})
    assert response.status_code == 400 and field in response.json()["error"]


def test_errors_have_its_shape_everywhere(http: httpx.Client) -> None:
    responses = [
        http.get("/api/nothing"),
        http.get(CHAT),
        http.post(CHAT, content="{"),
        http.post("/api/embed", json={}),
    ]
    responses += [http.post("/api/embeddings", json={}), http.post("/api/pull", json={"model": "llava"})]
    assert [each.status_code for each in responses] == [404, 405, 400, 400, 400, 400]
    assert all(isinstance(each.json()["error"], str) for each in responses)
    assert "embeddings" in http.post("/v1/embeddings", json={}).json()["error"]["message"]


def test_the_model_and_its_aliases_are_listed(http: httpx.Client) -> None:
    models = http.get("/api/tags").json()["models"]
    assert [model["name"] for model in models] == ["tiny:latest", "llava:7b"]
    assert models[0]["size"] > 10**6 and models[0]["details"]["parameter_size"].endswith("M")
    shown = http.post("/api/show", json={"model": "tiny"}).json()
    assert shown["model_info"]["omnilmm.context_length"] == http.get("/health").json()["context"]
    assert "vision" in shown["capabilities"] and "temperature" in shown["parameters"]
    assert http.post("/api/show", json={"name": "nope"}).status_code == 404
    version = http.get("/api/version").json()["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)  # which Visual Studio Code asks for
    assert (
        http.head("/").status_code == http.head("/api/tags").status_code == http.head("/api/version").status_code == 200
    )


def test_aliases_are_answered_everywhere(http: httpx.Client) -> None:
    assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["tiny", "llava:7b"]
    assert http.get("/v1/models/llava:7b").json()["id"] == "llava:7b"
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    for name, status in {"llava:7b": 200, "tiny": 200, "gpt-4o": 404}.items():
        assert http.post("/v1/chat/completions", json={"model": name, **asked}).status_code == status


def test_the_model_is_loaded_and_let_go_of_on_demand(http: httpx.Client) -> None:
    def state() -> tuple[str, int]:
        return http.get("/health").json()["model_state"], len(http.get("/api/ps").json()["models"])

    for path, nothing in ((CHAT, {"messages": []}), (GENERATE, {"prompt": ""}), (GENERATE, {})):
        gone = http.post(path, json={"model": "tiny", **nothing, "keep_alive": 0, "stream": False}).json()
        assert gone["done_reason"] == "unload"
        until = time.monotonic() + WAIT_S
        while state() != ("unloaded", 0):
            assert time.monotonic() < until
        here = http.post(path, json={"model": "tiny", **nothing, "stream": False}).json()
        assert here["done_reason"] == "load" and here["load_duration"] > 0
        assert state() == ("loaded", 1)
    assert datetime.fromisoformat(http.get("/api/ps").json()["models"][0]["expires_at"]) > datetime.now().astimezone()


def test_a_client_that_sends_no_more_gets_lines_alone(http: httpx.Client) -> None:
    """What is sent to see whether it is still there may not break a line: each second, and the answer takes longer."""
    body = json.dumps(chat("hi", options={**ENDLESS, "num_predict": 150}, stream=True)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=30) as sock:
        sock.sendall(head + body)
        sock.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    _, _, rest = answer.partition(b"HTTP/1.1 200")
    chunks = rest.partition(b"\r\n\r\n")[2].split(b"\r\n")
    text = b"".join(chunks[1::2])  # sizes stand between them
    assert b" {" in text
    assert [json.loads(line)["done"] for line in text.splitlines() if line.strip()][-1] is True


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (0, 0.0), (5, 5.0), (0.5, 0.5), (-1, math.inf), ("5m", 300.0), ("1h30m", 5400.0), ("-1m", math.inf),
     ("300", 300.0), ("1.5h", 5400.0), ("250ms", 0.25), ("0s", 0.0), ("-1", math.inf), (-(10**400), math.inf)],
)  # fmt: skip
def test_durations_are_go_s(given: Any, seconds: float | None) -> None:
    """Of Go's time.ParseDuration; bare numbers are seconds."""
    found = read_keep_alive(given)
    assert found == seconds if seconds is None or math.isinf(seconds) else found == pytest.approx(seconds)


@pytest.mark.parametrize("given", ["", "soon", "5 m", "5x", "m", True, [], {}, "1h-5m", "9" * 100])
def test_what_is_no_duration_is_refused(given: Any) -> None:
    with pytest.raises(ApiError, match="keep_alive"):
        read_keep_alive(given)
