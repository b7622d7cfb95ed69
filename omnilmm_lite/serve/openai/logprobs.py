"""Log-probabilities in the shapes of OpenAI's API. Source: its reference, "logprobs" of a chat completion and of a
completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnilmm_lite.answer.logprobs import SaidToken, TokenLogprob


def chat_logprobs(tokens: Sequence[SaidToken]) -> list[dict[str, Any]]:
    """A token each, with its bytes, which may be a part of a character."""
    return [{**_token(each.said), "top_logprobs": [_token(other) for other in each.top]} for each in tokens]


def completion_logprobs(tokens: Sequence[SaidToken], offset: int) -> dict[str, Any]:
    """Parallel lists. `offset`: characters of the text before these tokens."""
    starts: list[int] = []
    for each in tokens:
        starts.append(offset)
        offset += len(_text(each.said))
    return {
        "tokens": [_text(each.said) for each in tokens],
        "token_logprobs": [each.said.logprob for each in tokens],
        "top_logprobs": [{_text(other): other.logprob for other in each.top} for each in tokens],
        "text_offset": starts,
    }


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": _text(token), "logprob": token.logprob, "bytes": list(token.data)}


def _text(token: TokenLogprob) -> str:
    return token.data.decode("utf-8", errors="replace")
