"""`POST /v1/responses`: what is asked, read from JSON. Nothing is stored, so that each request brings all of its
conversation. Source: OpenAI's API reference, "Create a model response"."""

from __future__ import annotations

import dataclasses
from typing import Any

from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.conversation import read_conversation
from omnilmm_lite.serve.request.fields import RequestFields, Warnings
from omnilmm_lite.serve.request.sampling import checked_top, read_shared
from omnilmm_lite.serve.request.schema.response_format import read_format
from omnilmm_lite.serve.request.tables import RESPONSE, TEXT
from omnilmm_lite.serve.request.tools import read_tools

INPUT = "input"
LOGPROBS = "message.output_text.logprobs"  # what may be included


def read_response(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """ApiError names the first field that is missing, wrong, or can't be honoured."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(RESPONSE)
    request, tools, turns = read_shared(fields, rules), read_tools(fields), fields
    if isinstance(data.get(INPUT), str):
        turns = RequestFields({INPUT: [{"role": "user", "content": data[INPUT]}]}, warnings=fields.warnings)
    conversation = read_conversation(turns, INPUT, tools, fields.string("instructions"))
    return dataclasses.replace(
        request,
        messages=conversation.messages,
        image_url=conversation.image_url,
        schema=_schema(fields),
        tools=tools,
        top_logprobs=_top_logprobs(fields),
        warnings=fields.warnings.said(),
        sent=data,
    )


def _schema(request: RequestFields) -> dict[str, Any] | None:
    """The JSON schema that the answer has to keep to; None for text."""
    text = request.object("text")
    if text is None:
        return None
    text.check(TEXT)
    return read_format(text.object("format"), within=None)


def _top_logprobs(fields: RequestFields) -> int | None:
    include = fields.value("include") or []
    if not isinstance(include, list) or not all(isinstance(each, str) for each in include):
        raise invalid("include: give an array of strings", "include", "invalid_type")
    top = checked_top(fields, "top_logprobs")
    return (top or 0) if LOGPROBS in include or top else None
