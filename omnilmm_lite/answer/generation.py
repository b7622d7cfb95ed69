"""From a prompt to an answer, token by token: prefill what the cache lacks, then decode until the model stops."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.drafts import Drafts
from omnilmm_lite.answer.grammar import Grammar
from omnilmm_lite.answer.logprobs import SaidToken, said_token
from omnilmm_lite.answer.sampling import Sampler
from omnilmm_lite.answer.steps import Asking, DraftStep, Logits, PrefillStep, Step, TokenStep, asked
from omnilmm_lite.answer.words import Words
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.decoder import Decoder
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.prompt import image_span
from omnilmm_lite.text.tokenizer import Tokenizer


class FinishReason(Enum):
    STOP = "stop"  # the model ended its answer, or said a stop string
    LENGTH = "length"  # max_new_tokens, or the context is full


@dataclass
class Timings:
    """Seconds and tokens of one answer.

    `prompt_tokens` counts the whole prompt, `prefill_tokens` what of it had to be run; `new_tokens` the answer without
    its end token, `decode_steps` the runs after the prefill, which gives the first token. A run may check a draft:
    `drafted_tokens` were guessed, `accepted_tokens` of them were right and each saved a run.
    """

    prompt_tokens: int = 0
    prefill_tokens: int = 0
    new_tokens: int = 0
    decode_steps: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Decode speed, 0 where nothing was decoded: tokens behind the first one, the end token too, not runs."""
        return (self.decode_steps + self.accepted_tokens) / self.decode_s if self.decode_s > 0 else 0.0

    def as_json(self, **before: float) -> dict[str, float]:
        """Seconds, tokens and tokens a second by name, rounded for reading; `before`: seconds of what came before."""
        seconds = before | {"prefill_s": self.prefill_s, "decode_s": self.decode_s}
        return {name: round(value, 4) for name, value in seconds.items()} | {
            "prompt_tokens": self.prompt_tokens,
            "prefill_tokens": self.prefill_tokens,
            "new_tokens": self.new_tokens,
            "drafted_tokens": self.drafted_tokens,
            "accepted_tokens": self.accepted_tokens,
            "tokens_per_s": round(self.tokens_per_s, 2),
        }


@dataclass(frozen=True)
class Prompt:
    ids: list[int]
    image: ImageFeatures | None = None


# Token ids -> their embeddings, float32 (tokens, hidden).
Embeddings: TypeAlias = Callable[[Sequence[int]], NDArray[np.float32]]


@dataclass(frozen=True)
class TextModel:
    """What generation needs: text on both ends, embeddings, decoder; and whether answers are drafted ahead."""

    config: OmniLMMConfig
    tokenizer: Tokenizer
    embeddings: Embeddings
    decoder: Decoder
    drafts: bool = False

    def embed(self, ids: list[int], features: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Token embeddings with the picture's features in their place: float32 (tokens, hidden)."""
        embeddings = self.embeddings(ids)
        if features is not None:
            resampler, im_patch = self.config.resampler, self.config.tokens.im_patch
            span = image_span(ids, self.config)
            if span is None or ids[span] != [im_patch] * resampler.num_queries:
                raise InputError(
                    f"ids: they must hold a run of {resampler.num_queries} image tokens ({im_patch}) for the features; "
                    "make them with encode_chat(..., image=True)"
                )
            if features.shape != embeddings[span].shape:
                raise InputError(
                    f"features: expected the shape {embeddings[span].shape}, found {features.shape}; "
                    "make them with encode_image"
                )
            embeddings[span] = features
        return embeddings


def room_for_answer(prompt_tokens: int, context: int) -> int:
    """How many tokens an answer may have at most. ContextFullError where there is room for none."""
    room = context - prompt_tokens
    if room < 1:
        raise ContextFullError(
            f"the prompt has {prompt_tokens} tokens, and the context holds {context} together with "
            "the answer: shorten it, start a new conversation, or raise --context"
        )
    return room


class Answer:
    """One answer in the making. Iterating runs the model and gives pieces of text; stopping early stops the model.
    `stepwise` leaves running it to somebody who runs several answers together.

    `tokens`, `text`, `timings` grow with it, and `said`, a token's log-probabilities each, where these were asked for;
    `finish_reason` is None until the end, `first_logits` (vocab,) until the prompt was run.
    """

    def __init__(
        self,
        model: TextModel,
        prompt: Prompt,
        params: SamplingParams,
        stop: Sequence[str] = (),
        grammar: Grammar | None = None,
        *,
        logit_bias: Mapping[int, float] | None = None,
        top_logprobs: int | None = None,
        continues: bool = False,
        cuts_at_picture: bool = False,
    ) -> None:
        """`stop`: the answer ends before the first of these strings. `grammar`: what it may be, up to where it ends.
        `logit_bias`: as for `Sampler`. `top_logprobs`: how many tokens `said` names beside the chosen one; None leaves
        it empty. `continues`: the answer goes on with a text, so that white space at its ends is kept.
        `cuts_at_picture`: what the prompt says up to the picture's end is run by itself, and of what the cache holds
        nothing behind it is used. Sums are rounded by what is run in one go: so the answer doesn't depend on what was
        asked before."""
        room = room_for_answer(len(prompt.ids), model.decoder.context)
        self.tokens: list[int] = []
        self.said: list[SaidToken] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.first_logits: Logits | None = None
        self.timings = Timings(prompt_tokens=len(prompt.ids))
        self._model, self._prompt = model, prompt
        self._max_new_tokens = min(params.max_new_tokens, room)
        self._sampler = Sampler(params, logit_bias)
        self._top_logprobs = top_logprobs
        self._continues, self._cuts_at_picture = continues, cuts_at_picture
        self._has_begun = continues  # or by a token of more than white space
        self._stop = stop
        self._grammar = None if grammar is None else grammar.start()
        self._cache_version = -1
        self._drafts: Drafts | None = None
        # the last draft's tokens that are still to be drawn, each with the logits behind it
        self._ahead: deque[tuple[int, NDArray[np.float32]]] = deque()

    def __iter__(self) -> Iterator[str]:
        steps, logits = self.stepwise(), None
        while True:
            try:
                said = steps.send(logits)
            except StopIteration:
                return
            logits = None
            if isinstance(said, str):
                yield said
            else:
                logits = said.run(self._model.decoder)

    def stepwise(self) -> Generator[str | Step, Logits | None, None]:
        """Gives pieces of text, and steps, each of which is to be sent the logits that it wants. Until the end, nobody
        else may use the model's decoder."""
        model, timings = self._model, self.timings
        words = Words(model.tokenizer.detokenizer(continues=self._continues), self._stop, continues=self._continues)
        started = time.perf_counter()
        if model.drafts:
            # a picture's places all have the same id; the end token ends an answer before it is run
            self._drafts = Drafts((model.config.tokens.im_patch, model.config.tokens.eos))
            self._drafts.extend(self._prompt.ids + self.tokens)
        self.first_logits = logits = yield from self._prefill()
        timings.prefill_s = time.perf_counter() - started
        while True:
            token = self._sampler.next(logits if self._grammar is None else self._grammar.constrain(logits))
            if token == model.config.tokens.eos:
                self.finish_reason = FinishReason.STOP
                break
            self._take(token, logits)
            if piece := words.push(token):
                self.text += piece
                yield piece
            if words.has_stopped:
                self.finish_reason = FinishReason.STOP
                return
            if timings.new_tokens == self._max_new_tokens:
                self.finish_reason = FinishReason.LENGTH
                break
            started = time.perf_counter()
            logits = yield from self._decode(token)
            timings.decode_s += time.perf_counter() - started
        piece = words.finish()
        if words.has_stopped:  # by the last token's own end
            self.finish_reason = FinishReason.STOP
        if piece:
            self.text += piece
            yield piece

    def _take(self, token: int, logits: Logits) -> None:
        """The token that was drawn from `logits` becomes part of the answer."""
        if self._grammar is not None:
            self._grammar.accept(token)
        self.tokens.append(token)
        if self._top_logprobs is not None:
            self.said.append(said_token(logits, token, self._top_logprobs, self._token_bytes))
            self._has_begun |= bool(self.said[-1].said.data)
        if self._drafts is not None:
            self._drafts.extend([token])
        self.timings.new_tokens += 1

    def _token_bytes(self, token: int) -> bytes:
        """What the token adds to the text, which begins without white space, as `Detokenizer` gives it."""
        data = self._model.tokenizer.token_bytes(token)
        return data if self._has_begun else data.lstrip()

    def _prefill(self) -> Asking:
        """Runs what the cache lacks of the prompt and of the answer so far; the last token's logits (vocab,)."""
        self._ahead.clear()
        model, image = self._model, self._prompt.image
        prompt = Prompt(self._prompt.ids + self.tokens, image)
        keys = cache_keys(prompt, model.config)
        cut = self._picture_end() if self._cuts_at_picture else 0
        start = model.decoder.reuse([*keys[:cut], None] if cut else keys)  # it drops all that lies behind
        if start < cut:
            model.decoder.clear()
            start = 0
        self._cache_version = model.decoder.version
        self.timings.prefill_tokens += len(keys) - start
        embeddings = model.embed(prompt.ids, None if image is None else image.values)
        if start < cut:
            yield from asked(PrefillStep(keys[:cut], embeddings[:cut]))
            start = cut
        return (yield from asked(PrefillStep(keys[start:], embeddings[start:])))

    def _picture_end(self) -> int:
        """Tokens up to the one that ends the picture, with it; 0 without a picture."""
        span = image_span(self._prompt.ids, self._model.config)
        return 0 if span is None else span.stop + 1

    def _decode(self, token: int) -> Asking:
        """The logits behind `token`, (vocab,): there already if a draft has guessed it, else by a run."""
        if self._ahead:
            guess, logits = self._ahead.popleft()
            if guess == token:
                assert self._drafts is not None  # they made the guess
                self._drafts.accept()
                self.timings.accepted_tokens += 1
                return logits
            self._ahead.clear()
        logits = yield from self._run(token)
        self.timings.decode_steps += 1
        return logits

    def _run(self, token: int) -> Asking:
        """Runs one more token, and a draft behind it; all from the start if another answer has used the cache."""
        model, decoder = self._model, self._model.decoder
        if decoder.version != self._cache_version:
            return (yield from self._prefill())
        draft: list[int] = []
        if self._drafts is not None:
            # all of the answer but `token` has been run, and perhaps wrong guesses behind it
            decoder.truncate(len(self._prompt.ids) + len(self.tokens) - 1)
            # a run gives one token more than it checks, and the answer's last one is never run
            draft = self._drafts.propose(self._max_new_tokens - len(self.tokens) - 1)
        if not draft:
            return (yield from asked(TokenStep(token, model.embeddings([token]))))
        tokens = [token, *draft]
        logits = yield from asked(DraftStep(tokens, model.embeddings(tokens)))
        self.timings.drafted_tokens += len(draft)
        self._ahead.extend(zip(draft, logits[1:], strict=True))
        first: Logits = logits[0]
        return first


def cache_keys(prompt: Prompt, config: OmniLMMConfig) -> list[Hashable]:
    """One key a token: its id, or for an image token the picture and the place in it."""
    keys: list[Hashable] = list(prompt.ids)
    span = image_span(prompt.ids, config)
    if prompt.image is not None and span is not None:
        keys[span] = [(prompt.image.pixel_hash, i) for i in range(config.resampler.num_queries)]
    return keys
