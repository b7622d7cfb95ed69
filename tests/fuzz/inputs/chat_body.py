"""The body of a request to /v1/chat/completions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.request.chat_request import read_request
from omnilmm_lite.serve.request.fields import parse_object
from omnilmm_lite.serve.request.pictures import picture_bytes
from tests.fuzz.attempt import check_line
from tests.fuzz.form import Form

FORM = Form.JSON
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="


def seeds() -> Iterator[bytes]:
    yield json.dumps(_body()).encode()
    options: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.9, "top_k": -1, "max_tokens": 9, "seed": 3, "stop": ["\n", "end"], "n": 1,
        "stream": True, "stream_options": {"include_usage": True}, "user": "me",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    }  # fmt: skip
    yield json.dumps(_body() | options).encode()


def try_bytes(data: bytes) -> None:
    try:
        request = read_request(parse_object(data), SamplingParams())
        if request.image_url is not None:
            picture_bytes(request.image_url, None)
    except ApiError as error:
        assert 400 <= error.status < 500, error
        check_line(error.message)
        json.dumps(error.body(), ensure_ascii=False).encode()
        raise InputError(error.message) from error


def _body() -> dict[str, Any]:
    picture = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}}
    return {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]},
            {"role": "assistant", "content": "A cat.", "tool_calls": []},
            {"role": "user", "content": "And its colour?"},
        ],
    }
