"""`POST /v1/responses`: what is asked, read from JSON. Nothing is stored, so that each request brings all of its
conversation. Source: OpenAI's API reference, "Create a model response"."""

from __future__ import annotations

from typing import Any

from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_model
from omnilmm_lite.serve.request.conversation import read_conversation
from omnilmm_lite.serve.request.fields import RequestFields, Warnings
from omnilmm_lite.serve.request.sampling import (
    checked_top,
    read_include_usage,
    read_logit_bias,
    read_sampling,
    read_stop,
    read_user,
)
from omnilmm_lite.serve.request.schema.response_format import ANY_OBJECT, read_schema, wrong_kind
from omnilmm_lite.serve.request.tables import RESPONSE, TEXT
from omnilmm_lite.serve.request.tools import read_tools

INPUT = "input"
LOGPROBS = "message.output_text.logprobs"  # what may be included


def read_response(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """ApiError names the first field that is missing, wrong, or can't be honoured."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(RESPONSE)
    model = read_model(fields)
    tools = read_tools(fields)
    if isinstance(data.get(INPUT), str):
        only = {INPUT: [{"role": "user", "content": data[INPUT]}]}
        conversation = read_conversation(
            RequestFields(only, warnings=fields.warnings), INPUT, tools, fields.string("instructions")
        )
    else:
        conversation = read_conversation(fields, INPUT, tools, fields.string("instructions"))
    return AnswerRequest(
        model=model,
        params=read_sampling(fields, rules),
        user=read_user(fields),
        messages=conversation.messages,
        image_url=conversation.image_url,
        stop=read_stop(fields),
        schema=_schema(fields),
        tools=tools,
        logit_bias=read_logit_bias(fields, rules),
        top_logprobs=_top_logprobs(fields),
        stream=fields.boolean("stream"),
        include_usage=read_include_usage(fields),
        warnings=fields.warnings.said(),
        sent=data,
    )


def _schema(request: RequestFields) -> dict[str, Any] | None:
    """The JSON schema that the answer has to keep to; None for text."""
    text = request.object("text")
    if text is None:
        return None
    text.check(TEXT)
    fields = text.object("format")
    if fields is None:
        return None
    match fields.string("type"):
        case "text":
            return None
        case "json_object":
            return ANY_OBJECT
        case "json_schema":
            return read_schema(fields, fields.name("schema"))
        case kind:
            raise wrong_kind(fields, kind)


def _top_logprobs(fields: RequestFields) -> int | None:
    include = fields.value("include") or []
    if not isinstance(include, list) or not all(isinstance(each, str) for each in include):
        raise invalid("include: give an array of strings", "include", "invalid_type")
    top = checked_top(fields, "top_logprobs")
    return (top or 0) if LOGPROBS in include or top else None
