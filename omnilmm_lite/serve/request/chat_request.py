"""`POST /v1/chat/completions`: what is asked, read from JSON. What can't be honoured is refused by name.

Source: OpenAI's API reference, "Create chat completion"; top_k, min_p and repetition_penalty as in vLLM.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import ApiError, invalid
from omnilmm_lite.serve.request.fields import RequestFields, checked_text, json_type
from omnilmm_lite.serve.request.response_format import read_response_format

MAX_STOPS = 16
NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
INTEGERS = ("top_k", "seed")
LENGTHS = ("max_completion_tokens", "max_tokens")  # the new name and the old one
# They change no answer: who asks, and what OpenAI keeps or caches.
NOTES = ("user", "safety_identifier", "prompt_cache_key")
KNOWN = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "stop",
    "response_format",
    *NUMBERS,
    *INTEGERS,
    *LENGTHS,
    *NOTES,
)
# RequestFields that mean nothing with these values, which some clients always send.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,), "store": (False,), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},), "tools": ([],),
    "tool_choice": ("none", "auto"), "modalities": (["text"],), "service_tier": ("auto", "default"),
    "parallel_tool_calls": (True, False),
}  # fmt: skip
# What an assistant's message that is sent back may hold beside its text.
HARMLESS_IN_MESSAGE: dict[str, tuple[Any, ...]] = {"tool_calls": ([],), "annotations": ([],)}
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
DETAILS = ("auto", "low")  # the whole picture at the tower's one resolution


@dataclass(frozen=True)
class ChatRequest:
    """A request as it was sent. `image_url`: the picture of the first user turn, a data: or http(s): address.
    `schema`: the JSON schema that the answer has to keep to, if any."""

    model: str
    user: str
    messages: list[dict[str, str]]
    image_url: str | None
    params: SamplingParams
    stop: tuple[str, ...]
    schema: dict[str, Any] | None
    stream: bool
    include_usage: bool


def read_request(data: dict[str, Any], defaults: SamplingParams) -> ChatRequest:
    """ApiError names the first field that is missing, wrong, or can't be honoured."""
    fields = RequestFields(data)
    fields.refuse_others(KNOWN, HARMLESS)
    if not (model := fields.string("model")):
        raise invalid("model: it is missing; GET /v1/models names it", "model", "missing_required_parameter")
    for name in NOTES:
        fields.string(name)
    stream = fields.boolean("stream")
    messages, image_url = _messages(fields)
    return ChatRequest(
        model=model,
        user=fields.string("user") or "",
        messages=messages,
        image_url=image_url,
        params=_sampling(fields, defaults),
        stop=_stop(fields),
        schema=read_response_format(fields),
        stream=stream,
        include_usage=_include_usage(fields, stream),
    )


def _sampling(fields: RequestFields, defaults: SamplingParams) -> SamplingParams:
    changes: dict[str, Any] = {name: fields.number(name) for name in NUMBERS}
    changes |= {name: fields.integer(name) for name in INTEGERS}
    if changes["top_k"] == -1:  # vLLM's way to say: all
        changes["top_k"] = 0
    lengths = {value for name in LENGTHS if (value := fields.integer(name)) is not None}
    if len(lengths) > 1:
        raise invalid("max_tokens: it differs from max_completion_tokens; give one of them", "max_tokens")
    changes["max_new_tokens"] = lengths.pop() if lengths else None
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return dataclasses.replace(defaults, **given)
    except InputError as error:
        length = next((name for name in LENGTHS if fields.value(name) is not None), LENGTHS[0])
        message = str(error).replace("max_new_tokens", length)
        raise invalid(message, message.split(":")[0]) from None


def _stop(fields: RequestFields) -> tuple[str, ...]:
    value = fields.value("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise invalid("stop: give a string or an array of strings", "stop", "invalid_type")
    if len(stops) > MAX_STOPS:
        raise invalid(f"stop: there are {len(stops)} strings; give at most {MAX_STOPS}", "stop")
    if "" in stops:
        raise invalid("stop: one of the strings is empty; leave it out", "stop")
    return tuple(checked_text(stop, "stop") for stop in stops)


def _include_usage(fields: RequestFields, stream: bool) -> bool:
    options = fields.object("stream_options")
    if options is None:
        return False
    if not stream:
        raise invalid("stream_options: they go with stream: true alone", "stream_options")
    options.refuse_others(("include_usage",), {"include_obfuscation": (False,)})
    return options.boolean("include_usage")


def _messages(fields: RequestFields) -> tuple[list[dict[str, str]], str | None]:
    """Roles and texts, and the picture's address."""
    value = fields.value("messages")
    if not isinstance(value, list) or not value:
        raise invalid("messages: give an array of one or more messages", "messages", "missing_required_parameter")
    messages: list[dict[str, str]] = []
    image_url: str | None = None
    for index, each in enumerate(value):
        where = f"messages[{index}]"
        if not isinstance(each, dict):
            raise invalid(f"{where}: it is {json_type(each)}; give an object", where, "invalid_type")
        role, text, url = _message(RequestFields(each, where), where)
        if url is not None:
            if role != "user" or any(message["role"] == "user" for message in messages):
                raise invalid(
                    f"{where}: the picture belongs in the first user message; begin a new conversation for a new one",
                    where,
                )
            image_url = url
        messages.append({"role": role, "content": text})
    if messages[-1]["role"] != "user":
        raise invalid(f"{where}: the last message must be the user's", where)
    return messages, image_url


def _message(message: RequestFields, where: str) -> tuple[str, str, str | None]:
    """(role, text, picture's address)."""
    message.refuse_others(("role", "content"), HARMLESS_IN_MESSAGE)
    role = message.string("role") or ""
    if role not in ROLES:
        raise invalid(f"{where}.role: {printable(role)!r} is none of {', '.join(ROLES)}", f"{where}.role")
    content = message.value("content")
    if isinstance(content, str):
        return ROLES[role], checked_text(content, f"{where}.content"), None
    if not isinstance(content, list):
        raise invalid(f"{where}.content: give a string or an array of parts", f"{where}.content", "invalid_type")
    texts: list[str] = []
    urls: list[str] = []
    for index, part in enumerate(content):
        _read_part(part, f"{where}.content[{index}]", texts, urls)
    if len(urls) > 1:
        raise invalid(f"{where}: it has {len(urls)} pictures; this model takes one in a conversation", where)
    return ROLES[role], "\n".join(texts), urls[0] if urls else None


def _read_part(part: Any, where: str, texts: list[str], urls: list[str]) -> None:
    if not isinstance(part, dict):
        raise invalid(f"{where}: it is {json_type(part)}; give an object", where, "invalid_type")
    fields = RequestFields(part, where)
    match fields.string("type"):
        case "text":
            fields.refuse_others(("type", "text"), {})
            if (text := fields.string("text")) is None:
                raise _missing(f"{where}.text")
            texts.append(text)
        case "image_url":
            fields.refuse_others(("type", "image_url"), {})
            image = fields.object("image_url")
            if image is None:
                raise _missing(f"{where}.image_url")
            image.refuse_others(("url", "detail"), {})
            if (detail := image.string("detail") or "auto") not in DETAILS:
                name = f"{where}.image_url.detail"
                raise invalid(f"{name}: {printable(detail)!r} can't be had; give one of {', '.join(DETAILS)}", name)
            if not (url := image.string("url")):
                raise _missing(f"{where}.image_url.url")
            urls.append(url)
        case kind:
            raise invalid(f"{where}.type: {printable(str(kind))!r} is neither text nor image_url", f"{where}.type")


def _missing(name: str) -> ApiError:
    return invalid(f"{name}: it is missing", name, "missing_required_parameter")
