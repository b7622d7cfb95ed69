"""How likely the model found what it said: logarithms of probabilities, before anything changes them for sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.sampling import best_ids


@dataclass(frozen=True)
class TokenLogprob:
    """A token's id, the UTF-8 bytes that it adds to the text, and its probability's natural logarithm."""

    token: int
    data: bytes
    logprob: float


@dataclass(frozen=True)
class SaidToken:
    """A token of the answer, and the likeliest ones in its place, best first."""

    said: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


def said_token(logits: NDArray[np.float32], token: int, top: int, data: Callable[[int], bytes]) -> SaidToken:
    """`token`, as the model's own logits (vocab,) have it: without penalties, bias, temperature, filters or grammar.

    `top`: how many others are named; of those that are as likely, the lower ids. `data`: a token's bytes.
    """
    scores = logits.astype(np.float64)
    scores -= scores.max()
    logprobs = scores - np.log(np.exp(scores).sum())
    ids = best_ids(logits, min(top, logits.size)) if top else np.array([], np.intp)
    ids = ids[np.argsort(-logits[ids], kind="stable")][:top]
    return SaidToken(
        TokenLogprob(token, data(token), float(logprobs[token])),
        tuple(TokenLogprob(int(each), data(int(each)), float(logprobs[each])) for each in ids),
    )
