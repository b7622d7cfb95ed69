"""`POST /v1/chat/completions`: what is asked, read from JSON. Source: OpenAI's API reference, "Create chat
completion"."""

from __future__ import annotations

from typing import Any

from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.conversation import read_conversation
from omnilmm_lite.serve.request.fields import RequestFields, Warnings
from omnilmm_lite.serve.request.sampling import (
    read_include_usage,
    read_logit_bias,
    read_n,
    read_sampling,
    read_stop,
    read_top_logprobs,
    read_user,
)
from omnilmm_lite.serve.request.schema.response_format import read_response_format
from omnilmm_lite.serve.request.tables import CHAT
from omnilmm_lite.serve.request.tools import read_tools


def read_chat(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """ApiError names the first field that is missing, wrong, or can't be honoured."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(CHAT)
    model = read_model(fields)
    tools = read_tools(fields)
    conversation = read_conversation(fields, "messages", tools, None)
    return AnswerRequest(
        model=model,
        params=read_sampling(fields, rules),
        user=read_user(fields),
        messages=conversation.messages,
        image_url=conversation.image_url,
        stop=read_stop(fields),
        schema=read_response_format(fields),
        tools=tools,
        n=read_n(fields),
        logit_bias=read_logit_bias(fields, rules),
        top_logprobs=read_top_logprobs(fields),
        stream=fields.boolean("stream"),
        include_usage=read_include_usage(fields),
        warnings=fields.warnings.said(),
        sent=data,
    )


def read_model(fields: RequestFields) -> str:
    if not (model := fields.string("model")):
        raise invalid("model: it is missing; GET /v1/models names it", "model", "missing_required_parameter")
    return model
