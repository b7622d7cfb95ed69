"""Server-sent events, as OpenAI's API has them, and what is the same in all its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Finished, RequestPhase

DONE = b"data: [DONE]\n\n"
STILL_HERE_COMMENT = b": still here\n\n"  # which event streams' readers pass over


def sse_data(data: dict[str, Any], event: str | None = None) -> bytes:
    """A message, and the kind of event where it has one."""
    kind = "" if event is None else f"event: {event}\n"
    return f"{kind}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def sse_phase(phase: RequestPhase, place: int) -> bytes:
    """A phase as an event stream's comment, which clients that don't know it pass over."""
    return f": {phase.value} {place}\n\n".encode() if phase is RequestPhase.QUEUED else f": {phase.value}\n\n".encode()


def sse_error(error: ApiError) -> bytes:
    """How an answer that has begun says that it breaks off."""
    return sse_data(error.body())


def prompt_tokens(finished: Sequence[Finished], n: int) -> tuple[int, int]:
    """Tokens of the prompts, with the picture's, and how many of them the KV cache still held. There are `n` answers
    in a row to each prompt, which counts once: the second one finds all of it in the cache."""
    firsts = [each.timings for each in finished[::n]]
    cached = sum(max(0, each.prompt_tokens - each.prefill_tokens) for each in firsts)
    return sum(each.prompt_tokens for each in firsts), cached


def usage(finished: Sequence[Finished], n: int) -> dict[str, Any]:
    """Tokens, as chat completions and completions count them."""
    prompt, cached = prompt_tokens(finished, n)
    completion = sum(each.timings.new_tokens for each in finished)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
