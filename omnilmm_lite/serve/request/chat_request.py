"""`POST /v1/chat/completions`: what is asked, read from JSON. Source: OpenAI's API reference, "Create chat
completion"."""

from __future__ import annotations

import dataclasses
from typing import Any

from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.conversation import read_conversation
from omnilmm_lite.serve.request.fields import RequestFields, Warnings
from omnilmm_lite.serve.request.sampling import read_n, read_shared, read_top_logprobs
from omnilmm_lite.serve.request.schema.response_format import read_response_format
from omnilmm_lite.serve.request.tables import CHAT
from omnilmm_lite.serve.request.tools import read_tools


def read_chat(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """ApiError names the first field that is missing, wrong, or can't be honoured."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(CHAT)
    request, tools = read_shared(fields, rules), read_tools(fields)
    conversation = read_conversation(fields, "messages", tools, None)
    return dataclasses.replace(
        request,
        messages=conversation.messages,
        image_url=conversation.image_url,
        schema=read_response_format(fields),
        tools=tools,
        n=read_n(fields),
        top_logprobs=read_top_logprobs(fields),
        warnings=fields.warnings.said(),
        sent=data,
    )
