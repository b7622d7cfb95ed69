"""A model that answers a benchmark's questions, the same way however often the run was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.generation import Answer
from omnilmm_lite.evaluation.running.question import Question
from omnilmm_lite.model import Model
from omnilmm_lite.pipeline.asked import Query
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.sampling_params import SamplingParams


@dataclass(frozen=True)
class Reply:
    """`likeliest`: the option whose letter the model would most likely begin with; None where options aren't ranked."""

    text: str
    finish_reason: str | None
    likeliest: str | None


class Respondent:
    """Each question by itself: nothing of one is seen by the next."""

    def __init__(self, model: Model, params: SamplingParams, width: Width | None = None) -> None:
        """`width`: how many answers at once; by default as many as the model has slots."""
        self.model = model
        self.width = width or Width(model.slots, is_measured=False)
        self._params = params
        self._tokens = _letter_tokens(model)

    def query(self, question: Question) -> Query:
        """What the model is asked about the question's picture. Alone it is run in the same pieces each time: a run
        that was killed between two questions about one picture gives the same answers as one that wasn't."""
        ids = self.model.encode_chat([{"role": "user", "content": question.prompt}], image=True)
        return Query(ids, self._params, cuts_at_picture=True)

    def reply(self, question: Question, answer: Answer) -> Reply:
        """What it has replied, `answer` being at its end."""
        logits, reason = answer.first_logits, answer.finish_reason
        likeliest = None if logits is None else self._likeliest(question.letters, logits)
        return Reply(answer.text, None if reason is None else reason.value, likeliest)

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
