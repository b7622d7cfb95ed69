"""`POST /v1/completions`: a plain text that the model goes on with, read from JSON. Source: OpenAI's API reference,
"Create completion"."""

from __future__ import annotations

import dataclasses
from typing import Any

from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.fields import RequestFields, Warnings, checked_text
from omnilmm_lite.serve.request.sampling import MOST_ANSWERS, checked_top, read_n, read_shared
from omnilmm_lite.serve.request.schema.response_format import read_response_format
from omnilmm_lite.serve.request.tables import COMPLETION

PROMPT = "prompt"


def read_completion(data: dict[str, Any], rules: ReadingRules) -> AnswerRequest:
    """ApiError names the first field that is missing, wrong, or can't be honoured."""
    fields = RequestFields(data, warnings=Warnings(rules.strict))
    fields.check(COMPLETION)
    request, prompts = read_shared(fields, rules), _prompts(fields, rules.vocab_size)
    n = read_n(fields, len(prompts))
    if fields.integer("best_of") not in (None, n):
        raise invalid("best_of: more answers than are wanted can't be had; leave it out", "best_of")
    top = checked_top(fields, "logprobs")
    if fields.boolean("echo") and (top is not None or any(isinstance(prompt, list) for prompt in prompts)):
        raise invalid("echo: it goes with prompts that are texts, without logprobs; leave it out", "echo")
    return dataclasses.replace(
        request,
        prompts=prompts,
        schema=read_response_format(fields),
        n=n,
        top_logprobs=top,
        warnings=fields.warnings.said(),
        sent=data,
    )


def _prompts(fields: RequestFields, vocab_size: int) -> tuple[str | list[int], ...]:
    """A text, token ids, or an array of either."""
    value = fields.value(PROMPT)
    if isinstance(value, str) or (isinstance(value, list) and value and all(type(each) is int for each in value)):
        value = [value]
    if not isinstance(value, list) or not value:
        raise invalid(f"{PROMPT}: give a text, token ids, or an array of either", PROMPT, "missing_required_parameter")
    if len(value) > MOST_ANSWERS:
        raise invalid(f"{PROMPT}: there are {len(value)}; give at most {MOST_ANSWERS} at once", PROMPT)
    return tuple(_prompt(each, f"{PROMPT}[{index}]", vocab_size) for index, each in enumerate(value))


def _prompt(value: Any, name: str, vocab_size: int) -> str | list[int]:
    if isinstance(value, str):
        return checked_text(value, name)
    if not isinstance(value, list) or not value or not all(type(each) is int for each in value):
        raise invalid(f"{name}: give a text, or an array of token ids", name, "invalid_type")
    if not all(0 <= each < vocab_size for each in value):
        raise invalid(f"{name}: there is a token that the model hasn't; give ids from 0 to {vocab_size - 1}", name)
    return value
