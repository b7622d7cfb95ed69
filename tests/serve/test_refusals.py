"""What must not be answered: malformed requests, strangers' pages, a missing key; and always in OpenAI's shape."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

import cli
from omnilmm_lite import load
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.serve.access import parse_origin
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.model.facts import ModelFacts
from omnilmm_lite.serve.request_checker import RequestChecker
from tests.serve.serving import CHAT, client, question
from tests.serve.serving import http as http
from tests.systems import PYTHON

TURN = {"role": "user", "content": "hi"}
IMAGE = "data:image/png;base64,"


def asked(**fields: Any) -> str:
    return json.dumps({"model": "tiny", "messages": [TURN], "max_tokens": 3, **fields})


def picture(url: Any, **more: Any) -> str:
    part = {"type": "image_url", "image_url": {"url": url, **more}}
    return asked(messages=[{"role": "user", "content": [part, {"type": "text", "text": "hi"}]}])


TOOL = {"type": "function", "function": {"name": "f"}}
DEEP: dict[str, Any] = {}
for _ in range(900):  # which JSON's own reader takes
    DEEP = {"items": DEEP}
SCHEMAS: list[dict[str, Any]] = [
    {"const": 10**400}, {"minimum": -(10**400)}, {"enum": ["\ud800"]}, {"type": "string", "pattern": "("}, DEEP,
]  # fmt: skip
MALFORMED = {  # body, and a part of what is said
    "": "not JSON", "{": "not JSON", "[]": "an array", "null": "null", '"hi"': "a string", "\ud800": "not JSON",
    "[" * 100_000: "not JSON", '{"model": NaN}': "NaN", "{}": "model", '{"model": "tiny"}': "messages",
    asked(model=3): "model", asked(model="gpt-4o"): "gpt-4o", asked(messages=[]): "messages",
    asked(messages={}): "messages",
    asked(messages=["hi"]): "messages[0]", asked(messages=[{"role": "user"}]): "messages[0]: the prompt is empty",
    asked(messages=[{"role": "robot", "content": "hi"}]): "robot", asked(messages=[{"content": "hi"}]): "role",
    asked(messages=[{"role": "user", "content": ""}]): "empty",
    asked(messages=[{"role": "user", "content": 3}]): "content",
    asked(messages=[{"role": "user", "content": "\ud800"}]): "surrogate",
    asked(messages=[{"role": "assistant", "content": "hi"}, TURN]): "begin with one",
    asked(messages=[TURN, {"role": "assistant", "content": "hi"}]): "last",
    asked(messages=[{**TURN, "function_call": {}}]): "function_call",
    asked(messages=[{"role": "system", "content": "hi"}]): "begin with one",
    asked(messages=[{"role": "user", "content": [{"type": "audio"}]}]): "audio",
    asked(messages=[{"role": "user", "content": ["hi"]}]): "content[0]",
    asked(messages=[{"role": "user", "content": "word " * 100_000}]): "context",
    asked(messages=[{"role": "user", "content": "word " * 3_000}]): "context",
    asked(temperature="warm"): "temperature", asked(temperature=-1): "temperature", asked(top_p=-1): "top_p",
    asked(temperature=True): "temperature", asked(temperature=10**400): "temperature", asked(top_k=1.5): "top_k",
    asked(max_tokens=0): "max_tokens", asked(max_completion_tokens=4): "max_tokens", asked(seed=-2): "seed",
    asked(repeat_penalty=0): "repeat_penalty: 0", asked(max_tokens=-3): "max_tokens: -3",
    asked(presence_penalty=3): "presence_penalty", asked(frequency_penalty=-3): "frequency_penalty",
    asked(stop=[""]): "stop", asked(stop=3): "stop", asked(stop=["x"] * 17): "stop", asked(stream="yes"): "stream",
    asked(stream_options={"include_usage": 1}): "stream_options.include_usage", asked(n=0): "n:", asked(n=33): "n:",
    asked(n=True): "n:", asked(logprobs=3): "logprobs", asked(top_logprobs=3): "logprobs: true",
    asked(logprobs=True, top_logprobs=21): "top_logprobs",
    asked(tools=[{"type": "function"}]): "tools[0].name", asked(tools=[{"type": "web_search"}]): "web_search",
    asked(tools=[{"type": "function", "function": {}}]): "tools[0].function.name", asked(tools="all"): "tools",
    asked(tool_choice="required"): "tool_choice", asked(tools=[TOOL], tool_choice="some"): "tool_choice",
    asked(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}): "'g'",
    asked(tools=[TOOL, TOOL]): "'f'", asked(tools=[{"type": "function", "name": "f g"}]): "'f g'",
    asked(tools=[{"type": "function", "name": "f", "parameters": {"type": "nonsense"}}]): "tools: schema",
    **{asked(tools=[{"type": "function", "name": "f", "parameters": each}]): "tools" for each in SCHEMAS[:-1]},
    asked(audio={}): "audio", asked(functions=[{}]): "functions", asked(mirostat=2): "mirostat",
    asked(logit_bias={"x": 2}): "logit_bias.x", asked(logit_bias={"99999": 2}): "logit_bias.99999",
    asked(logit_bias={"1": 101}): "logit_bias.1", asked(logit_bias={"1": "2"}): "logit_bias.1",
    asked(logit_bias=[1]): "logit_bias",
    asked(response_format={"type": "xml"}): "xml", asked(response_format="json"): "response_format",
    asked(response_format={"type": "json_schema"}): "schema",
    asked(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}): "nonsense",
    **{asked(response_format={"type": "json_schema", "json_schema": {"schema": each}}): "schema" for each in SCHEMAS},
    picture(""): "url", picture(3): "url", picture("file:///etc/passwd"): "data:",
    picture("/etc/passwd"): "data:", picture("http://127.0.0.1/cat.png"): "fetch",
    picture("data:image/png,xx"): "base64",
    picture(IMAGE): "no bytes", picture(IMAGE + "!!!!"): "base64", picture(IMAGE + "AAAA"): "picture",
    picture("data:text/html;base64,AAAA"): "base64",
}  # fmt: skip


@pytest.mark.parametrize(("body", "said"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_what_is_malformed_is_refused_by_name(http: httpx.Client, body: str, said: str) -> None:
    sent = body.encode("utf-8", errors="surrogatepass")
    response = http.post(CHAT, content=sent, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert said in error["message"] and "\n" not in error["message"]


def test_null_is_as_good_as_left_out(http: httpx.Client) -> None:
    body = asked(n=None, stop=None, tools=None, temperature=None, response_format={"type": "text"}, user="me", n_=None)
    assert http.post(CHAT, content=body, headers={"Content-Type": "application/json"}).status_code == 200


def test_other_paths_methods_and_kinds_of_body(http: httpx.Client) -> None:
    responses = {404: http.get("/v2"), 405: http.get(CHAT), 415: http.post(CHAT, content="{}")}
    large = http.post(CHAT, content=b"x" * (33 * 2**20), headers={"Content-Type": "application/json"})
    for status, response in {**responses, 413: large}.items():
        assert response.status_code == status
        assert "message" in response.json()["error"]


def test_what_is_not_http(http: httpx.Client) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=10) as sock:
        sock.sendall(b"garbage\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "["}]
)
def test_strangers_pages_are_kept_out(http: httpx.Client, headers: dict[str, str]) -> None:
    response = http.get("/health", headers=headers)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    ("given", "origin"),
    {
        "http://localhost:3000": "http://localhost:3000",
        "http://localhost:3000/": "http://localhost:3000",
        "HTTPS://Good.Example": "https://good.example",
        "https://good.example:443": "https://good.example",
        "http://good.example:443": "http://good.example:443",
        "http://[::1]:3000": "http://[::1]:3000",
    }.items(),
)
def test_an_origin_is_taken_as_browsers_write_it(given: str, origin: str) -> None:
    assert parse_origin(given) == origin


@pytest.mark.parametrize(
    "given",
    ["*", "", "null", "good.example", "ftp://good.example", "http://", "http://a/b", "http://a?b", "http://a:x",
     "http://a b", "http://a:99999", "http://me@good.example", "file:///etc", "http://[", "http://a#b", "http://ü.example"],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="--allow-origin"):
        parse_origin(given)


def test_an_origin_is_checked_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--port", "0", "--allow-origin", "*"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--allow-origin: *" in error


def test_its_own_page_may_ask(http: httpx.Client) -> None:
    origin = str(http.base_url).rstrip("/")
    assert http.get("/health", headers={"Origin": origin}).status_code == 200
    assert "default-src 'self'" in http.get("/").headers["content-security-policy"]


def test_a_key_is_wanted_wherever_something_can_be_learnt(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    with client("--api-key-file", str(tmp_path / "key"), "--allow-origin", "https://good.example") as http:
        for path in ("/health", "/v1/models", "/v1/models/tiny", "/v1/anything"):
            assert http.get(path).status_code == 401
            for wrong in ("Bearer wrong", "Basic secret", "secret"):
                assert http.get(path, headers={"Authorization": wrong}).status_code == 401
        assert http.post(CHAT, json=question("hi")).status_code == 401
        allowed = {"Authorization": "Bearer secret", "Origin": "https://good.example"}
        answer = http.post(CHAT, json=question("hi"), headers=allowed)
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://good.example"
        asks = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization"}  # fmt: skip
        preflight = http.options(CHAT, headers=asks)
        assert preflight.status_code == 204 and preflight.headers["access-control-allow-headers"] == "authorization"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--api-key-file"),
        (["--queue", "0"], "--queue"),
        (["--port", "99999"], "--port"),
        (["--api-key-file", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_host_that_can_be_no_name_is_one_line(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMNILMM_API_KEY", "secret")
    assert cli.main(["serve", "--host", host]) == 2
    error = capsys.readouterr().err
    assert f"--host: '{host}' is no host name" in error and error.count("\n") == 1


def test_a_picture_for_which_memory_is_short_is_the_servers_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: DecodingProcess, file: bytes, config: VisionConfig) -> None:
        raise OmniLMMError("picture: the memory is not enough")

    monkeypatch.setattr(DecodingProcess, "prepare", fail)
    with pytest.raises(ApiError) as raised:
        RequestChecker(ModelFacts.of(load()), "tiny", None).prepare(b"")
    assert (raised.value.status, raised.value.message) == (500, "picture: the memory is not enough")


def test_the_log_is_json_without_words_or_tracebacks() -> None:
    command = [*PYTHON, "-m", "cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
        for body in MALFORMED:
            httpx.post(address + CHAT, content=body.encode("utf-8", errors="surrogatepass"), trust_env=False,
                       headers={"Content-Type": "application/json"})  # fmt: skip
        httpx.post(address + CHAT, json=question("a very private question"), trust_env=False)
        known = httpx.post(address + CHAT, json=question("hi", unheard_of="private", stream=True), trust_env=False)
        process.terminate()
        _, log = process.communicate(timeout=30)
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[0]["event"] == "ready"
    assert sum(400 <= line.get("status", 0) < 500 for line in lines) == len(MALFORMED)
    assert not any("mistake" in line or line["level"] != "info" for line in lines)
    assert "private" not in log
    warning = "unheard_of: this server doesn't know it, and has passed it over"
    assert [line["warning"] for line in lines if "warning" in line] == [warning]
    assert json.loads(re.findall(r"data: (.*)", known.text)[0])["warning"] == warning
