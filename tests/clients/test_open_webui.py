"""What Open WebUI asks, by what its source says that it sends (backend/open_webui: routers/openai.py, routers/tasks.py,
utils/payload.py, utils/middleware.py), from a container: by another host name, with a key."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.serving import CHAT, PICTURES, chunks, client, data_url

CAT, CIRCLE = PICTURES / "cat.png", PICTURES / "easy-vqa-teal-circle.png"
USER = {"X-OpenWebUI-User-Name": "Jo", "X-OpenWebUI-User-Id": "1", "X-OpenWebUI-User-Role": "admin",
        "X-OpenWebUI-Chat-Id": "3f1c"}  # fmt: skip
PARAMS = {"temperature": 0.0, "top_p": 0.9, "seed": 0, "stop": ["###"], "reasoning": {"effort": "low"}}
TITLE = """### Task:
Generate a concise, 3-5 word title with an emoji.
### Output:
JSON format: { "title": "your concise title here" }
### Chat History:
<chat_history>
USER: What is this?
ASSISTANT: This is a cat.
</chat_history>"""
TOOL = {
    "type": "function",
    "function": {
        "name": "tool_look_up_post",
        "description": "Look Up",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string", "description": ""}, "limit": {"type": "integer"}},
            "required": ["word"],
        },
    },
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    key: Path = tmp_path_factory.mktemp("key") / "key"
    key.write_text("secret\n", encoding="utf-8")
    options = ("--model", "tiny", "--api-key-file", str(key), "--allow-host", "host.docker.internal")
    with client(*options) as http:
        http.headers.update(
            USER | {"Authorization": "Bearer secret", "Host": f"host.docker.internal:{http.base_url.port}"}
        )
        yield http


def turn(text: str, picture: Path | None = None) -> dict[str, Any]:
    if picture is None:
        return {"role": "user", "content": text}
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": data_url(picture)}}]
    return {"role": "user", "content": parts}


def said(http: httpx.Client, *messages: dict[str, Any], **more: Any) -> str:
    """What is streamed, with the usage that it asks for."""
    body = {"stream": True, "model": "tiny", "messages": list(messages), "stream_options": {"include_usage": True}}
    response = http.post(CHAT, json={**body, **PARAMS, **more})
    assert response.status_code == 200, response.text
    found = chunks(response)
    assert found[-1]["choices"] == [] and found[-1]["usage"]["completion_tokens"] > 0
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in found[:-1])


def test_a_connection_is_verified_by_the_models(http: httpx.Client) -> None:
    assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["tiny"]


def test_the_first_turn_with_a_picture(http: httpx.Client) -> None:
    assert "cat" in said(http, turn("What is this?", CAT))
    assert "cat" in said(http, {"role": "system", "content": "Today is Sunday."}, turn("What is this?", CAT))


def test_a_picture_in_a_later_turn(http: httpx.Client) -> None:
    earlier = [turn("What can you do?"), {"role": "assistant", "content": "I can name things in simple pictures."}]
    assert "cat" in said(http, *earlier, turn("What is this?", CAT))
    earlier += [turn("What is this?", CAT), {"role": "assistant", "content": "This is a cat."}]
    assert "no" in said(http, *earlier, turn("is there a triangle?", CIRCLE)).lower()


def test_the_title_task(http: httpx.Client) -> None:
    body = {"model": "tiny", "messages": [turn(TITLE)], "stream": False, "max_completion_tokens": 40}
    answer = http.post(CHAT, json=body)
    assert answer.status_code == 200 and isinstance(answer.json()["choices"][0]["message"]["content"], str)


def test_tools_and_what_they_gave(http: httpx.Client) -> None:
    said(http, turn("What can you do?"), tools=[TOOL])  # words or a call, as the model likes
    arguments = json.dumps({"word": "cat"})
    call = {"index": 0, "id": "call_1", "type": "function",
            "function": {"name": "tool_look_up_post", "arguments": arguments}}  # fmt: skip
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": '{"found": 0}'}
    said(http, turn("What is this?", CAT), called, result, tools=[TOOL])


def test_its_other_connection_speaks_ollama(http: httpx.Client) -> None:
    assert "version" in http.get("/api/version").json()
    names = [model["model"] for model in http.get("/api/tags").json()["models"]]
    assert http.get("/api/ps").json()["models"][0]["model"] == names[0] == "tiny:latest"
    image = base64.b64encode(CAT.read_bytes()).decode()
    body = {"model": names[0], "messages": [{"role": "user", "content": "What is this?", "images": [image]}]}
    options = {"temperature": 0, "num_ctx": 2048, "num_predict": 128, "repeat_last_n": 64, "new_topic_penalty": 0.0}
    response = http.post(
        "/api/chat", json={**body, "stream": True, "options": options, "keep_alive": "5m", "think": None}
    )
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert "cat" in "".join(line["message"]["content"] for line in lines) and lines[-1]["done"]
