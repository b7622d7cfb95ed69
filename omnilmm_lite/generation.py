"""From a prompt to an answer, token by token: prefill what the cache lacks, then decode until the model stops."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.decoder import Decoder
from omnilmm_lite.embeddings import EmbeddingTable
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.prompt import image_span
from omnilmm_lite.sampling import Sampler, SamplingParams
from omnilmm_lite.tokenizer import Tokenizer
from omnilmm_lite.vision import ImageFeatures


class FinishReason(Enum):
    STOP = "stop"  # the model ended its answer
    LENGTH = "length"  # max_new_tokens, or the context is full


@dataclass
class Timings:
    """Seconds and tokens of one answer. `prompt_tokens` counts the whole prompt, `prefill_tokens` what had to be run."""

    prompt_tokens: int = 0
    prefill_tokens: int = 0
    new_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Decode speed; the first token belongs to the prefill."""
        return (self.new_tokens - 1) / self.decode_s if self.new_tokens > 1 and self.decode_s > 0 else 0.0


@dataclass(frozen=True)
class Prompt:
    ids: list[int]
    image: ImageFeatures | None = None


@dataclass(frozen=True)
class TextModel:
    """What generation needs: text on both ends, embeddings, decoder."""

    config: OmniLMMConfig
    tokenizer: Tokenizer
    embeddings: EmbeddingTable
    decoder: Decoder

    def embed(self, ids: list[int], features: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Token embeddings with the picture's features in their place: float32 (tokens, hidden)."""
        embeddings = self.embeddings(ids)
        if features is not None:
            span = image_span(ids, self.config)
            if span is None or embeddings[span].shape != features.shape:
                raise InputError(
                    f"ids: they must hold one run of {self.config.resampler.num_queries} image tokens for features of "
                    f"shape {features.shape}; make them with encode_chat(..., image=True)"
                )
            embeddings[span] = features
        return embeddings


class Answer:
    """One answer in the making. Iterating runs the model and gives pieces of text; stopping early stops the model.

    `tokens`, `text`, `timings` grow with it; `finish_reason` is None until the end.
    """

    def __init__(self, model: TextModel, prompt: Prompt, params: SamplingParams) -> None:
        room = model.decoder.context - len(prompt.ids)
        if room < 1:
            raise ContextFullError(
                f"the prompt has {len(prompt.ids)} tokens, and the context holds {model.decoder.context} with the answer: "
                "shorten it, start a new conversation, or raise --context"
            )
        self.tokens: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.timings = Timings(prompt_tokens=len(prompt.ids))
        self._model, self._prompt = model, prompt
        self._max_new_tokens = min(params.max_new_tokens, room)
        self._sampler = Sampler(params)

    def __iter__(self) -> Iterator[str]:
        detokenizer = self._model.tokenizer.detokenizer()
        for token in self._token_ids():
            self.tokens.append(token)
            if piece := detokenizer.push(token):
                self.text += piece
                yield piece
        if piece := detokenizer.finish():
            self.text += piece
            yield piece

    def _token_ids(self) -> Iterator[int]:
        model, timings = self._model, self.timings
        started = time.perf_counter()
        logits = self._prefill()
        timings.prefill_s = time.perf_counter() - started
        while True:
            token = self._sampler.next(logits)
            timings.new_tokens += 1
            if token == model.config.tokens.eos:
                self.finish_reason = FinishReason.STOP
                return
            if timings.new_tokens == self._max_new_tokens:
                self.finish_reason = FinishReason.LENGTH
            yield token
            if self.finish_reason is not None:
                return
            started = time.perf_counter()
            logits = model.decoder.decode(token, model.embeddings([token]))
            timings.decode_s += time.perf_counter() - started

    def _prefill(self) -> NDArray[np.float32]:
        """Runs what the cache lacks of the prompt; the last token's logits (vocab,)."""
        model, prompt = self._model, self._prompt
        keys = cache_keys(prompt, model.config)
        start = model.decoder.reuse(keys)
        self.timings.prefill_tokens = len(keys) - start
        features = None if prompt.image is None else prompt.image.values
        return model.decoder.prefill(keys[start:], model.embed(prompt.ids, features)[start:])


def cache_keys(prompt: Prompt, config: OmniLMMConfig) -> list[Hashable]:
    """One key a token: its id, or for an image token the picture and the place in it."""
    keys: list[Hashable] = list(prompt.ids)
    span = image_span(prompt.ids, config)
    if prompt.image is not None and span is not None:
        keys[span] = [(prompt.image.pixel_hash, i) for i in range(config.resampler.num_queries)]
    return keys
