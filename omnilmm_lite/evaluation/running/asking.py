"""A benchmark's questions put to a model: pictures read ahead, every answer on the disk before the next one comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from omnilmm_lite.caption.loading import ahead
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import in_background
from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.predictions import PredictionFile
from omnilmm_lite.evaluation.running.question import Question, by_picture, picture_bytes
from omnilmm_lite.evaluation.running.replies import Loaded, QuestionOutcome, replies
from omnilmm_lite.evaluation.running.respondent import Respondent
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile


class Answering(Protocol):
    """Who answers questions."""

    def answers(self, questions: Sequence[Question]) -> Iterator[QuestionOutcome]:
        """What becomes of each; those about one picture together. Ctrl-C is heard at any time."""


@dataclass(frozen=True)
class Asking:
    """Of `questions`, whose answers the file gets."""

    questions: Sequence[Question]
    file: PredictionFile
    answering: Answering

    def run(self) -> Iterator[QuestionOutcome]:
        """A line is on the disk when its outcome comes."""
        with self.file:
            for asked in self.answering.answers(self.questions):
                item, prompt = asked.question.item, asked.question.prompt
                if asked.reply is None:
                    self.file.add_error(item, prompt, asked.error or "")
                else:
                    reply = asked.reply
                    more = {"finish_reason": reply.finish_reason, "likeliest": reply.likeliest}
                    self.file.add(item, prompt, reply.text, more)
                yield asked


def waiting(questions: Sequence[Question], file: PredictionFile, *, retry_errors: bool) -> list[Question]:
    """Those that the file has no line of, in the order of a run that was never stopped: where one was stopped among a
    picture's questions, the rest of them come first."""
    ordered = chain.from_iterable(by_picture(questions))
    return [each for each in ordered if not file.is_done(each.item, each.prompt, retry_errors=retry_errors)]


@dataclass(frozen=True)
class AnsweringHere:
    """By a model of this process. `open_respondent` loads it; it is called once a question needs it."""

    vision: VisionConfig
    open_respondent: Callable[[], Respondent]

    def answers(self, questions: Sequence[Question]) -> Iterator[QuestionOutcome]:
        return in_background(lambda: self._answers(questions))

    def _answers(self, questions: Sequence[Question]) -> Iterator[QuestionOutcome]:
        decoding = DecodingProcess(ignore_colour_profile=True)  # as the benchmarks' own kits, whose scores these follow

        def load(questions: Sequence[Question]) -> Loaded:
            try:
                file = PictureFile(picture_bytes(questions[0]))
                return Loaded(questions, decoding.prepare(file, self.vision), None)
            except InputError as error:
                return Loaded(questions, None, str(error))

        with contextlib.closing(ahead(load, by_picture(questions), decoding.close)) as loaded:
            for first in loaded:
                yield from replies(self.open_respondent(), chain([first], loaded))
                return
