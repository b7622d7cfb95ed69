"""A model that answers a benchmark's questions, the same way however often the run was stopped."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.generation import Answer, Prompt, cache_keys
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.evaluation.running.question import Question
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.prompt import image_span


@dataclass(frozen=True)
class Reply:
    """`likeliest`: the option whose letter the model would most likely begin with; None where options aren't ranked."""

    text: str
    finish_reason: str | None
    likeliest: str | None


class Respondent:
    """Each question by itself: nothing of one is seen by the next."""

    def __init__(self, model: Model, params: SamplingParams) -> None:
        self.model = model
        self._params = params
        self._tokens = _letter_tokens(model)

    def answer(self, question: Question, features: ImageFeatures | None) -> Reply:
        """`features`: the picture's. InputError where the prompt doesn't fit into the context."""
        model = self.model
        ids = model.encode_chat([{"role": "user", "content": question.prompt}], image=features is not None)
        prompt = Prompt(ids, features)
        answer = Answer(model.text, prompt, self._params)
        logits = self._begin(prompt, ranked=bool(question.letters))
        likeliest = None if logits is None else self._likeliest(question.letters, logits)
        for _ in answer:
            pass
        reason = answer.finish_reason
        return Reply(answer.text, None if reason is None else reason.value, likeliest)

    def _begin(self, prompt: Prompt, *, ranked: bool) -> NDArray[np.float32] | None:
        """Runs the prompt up to the picture's end; where options are `ranked` to its own end, whose logits come back.

        Sums are rounded by what is run in one go. So the cache is cut to exactly these places each time, whatever it
        held: a run that was killed between two questions about one picture gives the same answers as one that wasn't.
        """
        model = self.model.text
        keys = cache_keys(prompt, model.config)
        span = image_span(prompt.ids, model.config)
        shared = 0 if span is None else span.stop + 1  # with the token that ends the picture
        features = None if prompt.image is None else prompt.image.values
        embeddings = model.embed(prompt.ids, features)
        held: Sequence[Hashable] = keys[:shared]
        if model.decoder.reuse([*held, None]) < shared:  # it drops all that lies behind what is shared
            model.decoder.clear()
            model.decoder.prefill(held, embeddings[:shared])
        if not ranked:
            return None
        return model.decoder.prefill(keys[shared:], embeddings[shared:])

    def _likeliest(self, letters: Sequence[str], logits: NDArray[np.float32]) -> str | None:
        """The first of the best; None where the tokenizer doesn't have each letter as one token of its own."""
        if not letters or any(letter not in self._tokens for letter in letters):
            return None
        return max(letters, key=lambda letter: float(logits[self._tokens[letter]]))


def _letter_tokens(model: Model) -> dict[str, int]:
    """The token that an answer of this one letter begins with, for letters that are one token and no other's."""
    question = {"role": "user", "content": "?"}
    start = len(model.encode_chat([question], image=False))
    tokens: dict[str, int] = {}
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        answered = model.encode_chat([question, {"role": "assistant", "content": letter}], image=False)
        answer = answered[start:]
        if len(answer) == 2:  # and the end token
            tokens[letter] = answer[0]
    found = list(tokens.values())
    return {letter: token for letter, token in tokens.items() if found.count(token) == 1}
