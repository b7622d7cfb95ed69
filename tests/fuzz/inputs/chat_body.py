"""The body of a request to any of OpenAI's endpoints: each reader is given it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.request.answer_request import ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.completion_request import read_completion
from omnilmm_lite.serve.request.fields import parse_object
from omnilmm_lite.serve.request.pictures.url import picture_bytes
from omnilmm_lite.serve.request.responses_request import read_response
from omnilmm_lite.serve.request.schema.closed_schema import closed_object
from tests.fuzz.attempt import check_line
from tests.fuzz.form import Form

FORM = Form.JSON
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="
RULES = ReadingRules(SamplingParams(), context=2048, vocab_size=32009)
READERS = (read_chat, read_completion, read_response)
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}}


def seeds() -> Iterator[bytes]:
    yield json.dumps(_body()).encode()
    options: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.9, "top_k": -1, "max_tokens": 9, "seed": 3, "stop": ["\n", "end"], "n": 1,
        "stream": True, "stream_options": {"include_usage": True}, "user": "me", "logit_bias": {"7": -3},
        "logprobs": True, "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    }  # fmt: skip
    yield json.dumps(_body() | options).encode()
    yield json.dumps(_body() | {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "auto"}).encode()
    yield json.dumps({"model": "tiny", "prompt": ["a", [1, 2]], "logprobs": 2, "echo": False, "n": 2}).encode()
    items = [
        {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    choice = {"type": "function", "name": "f"}
    tools = [{"type": "function", **FUNCTION}]
    yield json.dumps({"model": "tiny", "input": items, "tools": tools, "tool_choice": choice}).encode()


def try_bytes(data: bytes) -> None:
    refusals = []
    for read in READERS:
        try:
            request = read(parse_object(data), RULES)
            if request.image_url is not None:
                picture_bytes(request.image_url, None)
            for schema in (request.schema, request.tools and request.tools.schema()):
                closed_object(schema or {})
            for warning in request.warnings:
                check_line(warning)
        except ApiError as error:
            assert 400 <= error.status < 500, error
            check_line(error.message)
            json.dumps(error.body(), ensure_ascii=False).encode()
            refusals.append(error)
    if len(refusals) == len(READERS):
        raise InputError(refusals[0].message) from refusals[0]


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
