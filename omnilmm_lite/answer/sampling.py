"""Choosing the next token from logits, with transformers' processors in transformers' order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.sampling_params import SamplingParams

# For `best_ids`: the fastest of 16 to 128 over 32009 tokens; for k above a quarter of a row it gains nothing.
ROWS, FEW = 32, 4


class Sampler:
    """Draws the tokens of one answer, and remembers them for the penalties.

    The prompt is no part of that memory: the reference generates from embeddings, so its penalty sees only what it
    has generated.
    """

    def __init__(self, params: SamplingParams, logit_bias: Mapping[int, float] | None = None) -> None:
        """`logit_bias`: what is added to the logits of some token ids, before anything else. Source: OpenAI's API
        reference, "logit_bias", and transformers' SequenceBiasLogitsProcessor, which comes first likewise."""
        self._params = params
        bias = logit_bias or {}
        self._biased = np.fromiter(bias.keys(), dtype=np.intp, count=len(bias))
        self._bias = np.fromiter(bias.values(), dtype=np.float32, count=len(bias))
        self._random = np.random.default_rng(params.seed)
        self._generated: Counter[int] = Counter()  # how often each was said

    def next(self, logits: NDArray[np.float32]) -> int:
        """The next token's id from the last position's logits, float32 (vocab,), which stay as they are.

        OmniLMMError where the best logit is no finite number.
        """
        if self._biased.size:
            logits = logits.copy()
            logits[self._biased] += self._bias
        scores = penalize_repetition(logits, self._generated.keys(), self._params.repetition_penalty)
        scores = penalize_frequency(scores, self._generated, self._params)
        best = int(scores.argmax())
        if not np.isfinite(scores[best]):
            raise OmniLMMError(
                f"logits: the best one is {scores[best]}; the model's numbers are broken, verify the bundle"
            )
        if self._params.is_greedy:
            token_id = best
        else:
            ids, probabilities = filtered_probabilities(scores, self._params)
            cumulative = probabilities.cumsum()
            drawn = cumulative.searchsorted(self._random.random() * cumulative[-1], side="right")
            token_id = int(ids[drawn])
        self._generated[token_id] += 1
        return token_id


def penalize_repetition(logits: NDArray[np.float32], seen: Collection[int], penalty: float) -> NDArray[np.float32]:
    """Logits (vocab,) in which each id of `seen` is less likely once, however often it came; a copy if any changes."""
    if penalty == 1 or not seen:
        return logits
    penalized = logits.copy()
    ids = np.fromiter(seen, dtype=np.intp, count=len(seen))
    scores = logits[ids]
    penalized[ids] = np.where(scores < 0, scores * np.float32(penalty), scores / np.float32(penalty))
    return penalized


def penalize_frequency(
    logits: NDArray[np.float32], counts: Mapping[int, int], params: SamplingParams
) -> NDArray[np.float32]:
    """Logits (vocab,) less the presence penalty, and less the frequency penalty as often as a token came; a copy if any
    changes. Source: OpenAI's API reference, "frequency and presence penalties".
    """
    if not counts or not (params.presence_penalty or params.frequency_penalty):
        return logits
    penalized = logits.copy()
    ids = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
    times = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
    penalized[ids] -= np.float32(params.presence_penalty) + times * np.float32(params.frequency_penalty)
    return penalized


def filtered_probabilities(
    scores: NDArray[np.float32], params: SamplingParams
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The ids that may be drawn and their probabilities, both (kept,), best first.

    Temperature, then top-k, top-p and min-p, each on what the one before has left; the best token always stays.
    (A temperature changes no order, so top-k may come first here and leave little to divide.)
    `scores` are the logits after the repetition penalty, float32 (vocab,), the best of them finite.
    """
    ids = best_ids(scores, params.top_k) if 0 < params.top_k < scores.size else np.arange(scores.size)
    ids = ids[np.argsort(-scores[ids])]
    kept = scores[ids].astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature leaves the best token alone: exp(-inf) is 0
        probabilities = np.exp((kept - kept[0]) / params.temperature)
    probabilities /= probabilities.sum()
    if params.top_p < 1:
        # A token stays while those better than it hold less than top_p.
        before = probabilities.cumsum() - probabilities
        count = max(1, int(np.count_nonzero(before < params.top_p)))
        ids, probabilities = ids[:count], probabilities[:count]
    if params.min_p > 0:
        count = int(np.count_nonzero(probabilities >= params.min_p * probabilities[0]))
        ids, probabilities = ids[:count], probabilities[:count]
    return ids, probabilities / probabilities.sum()


def best_ids(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The ids of the k best of `scores` (vocab,), in ascending order; ties with the k-th stay, as in transformers.

    The vocabulary is folded into columns. The k-th best of the columns' best is no better than the k-th best of all, so
    columns below it hold none of the k, and few are left to look at one by one.
    """
    width = scores.size // ROWS
    if k * FEW >= width:
        return np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    columns = scores[: ROWS * width].reshape(ROWS, width).max(axis=0)
    promising = (columns >= np.partition(columns, -k)[-k]).nonzero()[0]
    folded = (promising + width * np.arange(ROWS)[:, None]).ravel()  # row by row, so ascending
    ids: NDArray[np.intp] = np.concatenate([folded, np.arange(ROWS * width, scores.size)])
    kept = scores[ids]
    best: NDArray[np.intp] = ids[kept >= np.partition(kept, -k)[-k]]
    return best
