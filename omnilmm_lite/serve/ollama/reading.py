"""Ollama's requests, read as a chat request of OpenAI's: there is one reader for what both can ask."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from omnilmm_lite.serve.errors import ApiError, invalid
from omnilmm_lite.serve.ollama.durations import read_keep_alive
from omnilmm_lite.serve.ollama.options import read_options
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.fields import FieldTable, RequestFields, Warnings

COMMON = frozenset({"model", "format", "options", "stream", "keep_alive", "think", "logprobs", "top_logprobs"})
HARMLESS = frozenset({"truncate", "shift", "name"})
CHAT = FieldTable(COMMON | {"messages", "tools"}, HARMLESS)
GENERATE = FieldTable(
    COMMON | {"prompt", "system", "images", "raw"}, HARMLESS, {"suffix": ("",), "template": ("",), "context": ([],)}
)
MESSAGE = FieldTable(
    frozenset({"role", "content", "images", "tool_calls", "tool_name"}), frozenset({"thinking", "name", "tool_call_id"})
)


def read_chat_request(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """`POST /api/chat`. Without messages the model is only loaded, or let go of."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(CHAT)
    messages: list[dict[str, Any]] = []
    for message in fields.objects("messages"):
        messages.append(_message(message, messages))
    return _read(fields, rules, data, messages, {"tools": fields.value("tools") or None})


def read_generate_request(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """`POST /api/generate`: one question. Without one, likewise."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(GENERATE)
    if fields.boolean("raw"):
        raise invalid("raw: the prompt's form is the model's own here; leave it out, or ask /v1/completions", "raw")
    prompt, images = fields.string("prompt") or "", _images(fields)
    system = fields.string("system")
    messages = [{"role": "system", "content": system}] if system else []
    if prompt or images:
        messages.append({"role": "user", "content": _content(prompt, images)})
    else:
        messages = []
    return _read(fields, rules, data, messages, {})


def _read(
    fields: RequestFields, rules: ReadingRules, data: dict[str, Any], messages: list[dict[str, Any]], more: Any
) -> AnswerRequest:
    name = fields.required("model")
    if fields.value("think") not in (None, False, ""):
        raise invalid("think: this model does not support thinking; leave it out", "think")
    options = read_options(fields.object("options"), rules.context)
    stream, keep_s = fields.value("stream") is None or fields.boolean("stream"), read_keep_alive(data.get("keep_alive"))
    changes: dict[str, Any] = {"model": name, "stream": stream, "keep_s": keep_s, "sent": data}
    if not messages:
        return AnswerRequest(params=rules.defaults, warnings=fields.warnings.said(), **changes)
    asked = {
        "model": name,
        "messages": messages,
        "response_format": _response_format(fields),
        "logprobs": fields.boolean("logprobs") or None,
        "top_logprobs": fields.integer("top_logprobs") or None,
        **options,
        **more,
    }
    request = read_chat(asked, rules)
    warnings = (*fields.warnings.said(), *request.warnings)
    return dataclasses.replace(request, warnings=warnings, **changes)


def _message(message: RequestFields, before: list[dict[str, Any]]) -> dict[str, Any]:
    """As OpenAI's API has it. `before`: the messages so far, whose calls a tool's message answers."""
    message.check(MESSAGE)
    role, text = message.string("role") or "", message.string("content") or ""
    found: dict[str, Any] = {"role": role, "content": _content(text, _images(message))}
    if calls := message.objects("tool_calls"):
        found["tool_calls"] = [_call(call, f"call_{len(before)}_{index}") for index, call in enumerate(calls)]
    if role == "tool":
        found["tool_call_id"] = _answered_call(before, message.string("tool_name"))
    return found


def _call(call: RequestFields, id: str) -> dict[str, Any]:
    """Ollama's calls have no ids, and their arguments are no text."""
    function = call.object("function")
    if function is None:
        raise call.missing("function")
    arguments = function.value("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return {"id": id, "type": "function", "function": {"name": function.string("name"), "arguments": text}}


def _answered_call(before: list[dict[str, Any]], name: str | None) -> str:
    """The id of the first call of that name, or of any, that has no answer yet."""
    answered = {message.get("tool_call_id") for message in before}
    calls = [call for message in before for call in message.get("tool_calls", ()) if call["id"] not in answered]
    named = [call for call in calls if call["function"]["name"] == name] or calls
    return str(named[0]["id"]) if named else "call"


def _images(fields: RequestFields) -> list[str]:
    value = fields.value("images") or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid(f"{fields.name('images')}: give an array of base64 strings", fields.name("images"))
    return value


def _content(text: str, images: list[str]) -> Any:
    """Pictures come in bare base64, or with the head of a data: address, which some programs leave there."""
    if not images:
        return text
    urls = [each if each[:5].lower() == "data:" else f"data:application/octet-stream;base64,{each}" for each in images]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*parts, {"type": "text", "text": text}] if text else parts


def _response_format(fields: RequestFields) -> dict[str, Any] | None:
    value = fields.value("format")
    if value is None or value == "":
        return None
    if value == "json":
        return {"type": "json_object"}
    if not isinstance(value, dict):
        raise _wrong_format()
    return {"type": "json_schema", "json_schema": {"name": "format", "schema": value}}


def _wrong_format() -> ApiError:
    return invalid('format: give "json", or a JSON schema as an object', "format", "invalid_type")
