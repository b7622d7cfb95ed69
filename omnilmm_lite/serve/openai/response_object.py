"""The object that `/v1/responses` answers with, and what it puts out. Source: OpenAI's API reference, "The response
object"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from omnilmm_lite.answer.generation import FinishReason
from omnilmm_lite.serve.answering.form import timings, warned
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished
from omnilmm_lite.serve.openai.sse import prompt_tokens
from omnilmm_lite.serve.request.answer_request import AnswerRequest

IN_PROGRESS, COMPLETED, INCOMPLETE, FAILED = "in_progress", "completed", "incomplete", "failed"
# What is said back as it was sent, or by default.
ECHOED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": False,
    "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "safety_identifier": None,
    "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "truncation": "disabled", "user": None,
}  # fmt: skip


def response_object(
    head: dict[str, Any],
    request: AnswerRequest,
    output: Sequence[dict[str, Any]],
    finished: Finished | None,
    error: ApiError | None = None,
) -> dict[str, Any]:
    """`head`: its id, date and model. Without an end the response is in progress, with an error it has failed."""
    status = FAILED if error is not None else IN_PROGRESS if finished is None else end_status(finished)
    echoed = {name: _said_back(request.sent.get(name), default) for name, default in ECHOED.items()}
    return {
        **head,
        "object": "response",
        "status": status,
        "error": None if error is None else {"code": "server_error", "message": error.message},
        "incomplete_details": {"reason": "max_output_tokens"} if status == INCOMPLETE else None,
        "output": list(output),
        **echoed,
        "temperature": request.params.temperature,
        "top_p": request.params.top_p,
        "store": False,
        "usage": None if finished is None else _usage(finished),
        **({} if finished is None else {"timings": timings([finished])}),
        **warned(request),
    }


def _said_back(sent: Any, default: Any) -> Any:
    """`sent`, unless it is nothing or can't be written as JSON: half a character, infinity, too deep."""
    try:
        json.dumps(sent, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return default
    return default if sent is None else sent


def message_item(item_id: str, status: str, content: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": list(content)}


def text_part(text: str, logprobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def call_item(item_id: str, status: str, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": item_id, "status": status, "call_id": call_id, "name": name,
            "arguments": arguments}  # fmt: skip


def end_status(finished: Finished) -> str:
    return COMPLETED if finished.reason is FinishReason.STOP else INCOMPLETE


def _usage(finished: Finished) -> dict[str, Any]:
    prompt, cached = prompt_tokens([finished], 1)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": finished.timings.new_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + finished.timings.new_tokens,
    }
