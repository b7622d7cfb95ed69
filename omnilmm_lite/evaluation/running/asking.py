"""A benchmark's questions put to a model: pictures read ahead, every answer on the disk before the next one comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from omnilmm_lite.caption.loading import ahead
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import in_background
from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.predictions import PredictionFile
from omnilmm_lite.evaluation.running.question import Question, by_picture
from omnilmm_lite.evaluation.running.respondent import Reply, Respondent
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.pipeline import asked as pipeline
from omnilmm_lite.pipeline.pipeline import answered


@dataclass(frozen=True)
class Asked:
    """What became of a question: one of `reply` and `error` is None, and both until it was asked."""

    question: Question
    reply: Reply | None
    error: str | None


@dataclass(frozen=True)
class _Loaded:
    """The questions about one picture that are still to be asked."""

    questions: Sequence[Question]
    picture: PreparedImage | None
    error: str | None


@dataclass(frozen=True)
class Asking:
    """`open_respondent` loads the model; it is called once a question needs it, and never where all are answered."""

    questions: Sequence[Question]
    file: PredictionFile
    vision: VisionConfig
    open_respondent: Callable[[], Respondent]
    retry_errors: bool = False

    def waiting(self) -> list[Question]:
        """The questions that the file has no line of."""
        return [each for each in self.questions if not self._is_done(each)]

    def run(self) -> Iterator[Asked]:
        """Asks what is waiting. A line is on the disk when its outcome comes; Ctrl-C is heard at any time."""
        with self.file:
            for asked in in_background(self._outcomes):
                item, prompt = asked.question.item, asked.question.prompt
                if asked.reply is None:
                    self.file.add_error(item, prompt, asked.error or "")
                else:
                    reply = asked.reply
                    more = {"finish_reason": reply.finish_reason, "likeliest": reply.likeliest}
                    self.file.add(item, prompt, reply.text, more)
                yield asked

    def _outcomes(self) -> Iterator[Asked]:
        decoding = DecodingProcess(ignore_colour_profile=True)  # as the benchmarks' own kits, whose scores these follow

        def load(questions: Sequence[Question]) -> _Loaded:
            try:
                return _Loaded(questions, decoding.prepare(_picture(questions[0]), self.vision), None)
            except InputError as error:
                return _Loaded(questions, None, str(error))

        groups = by_picture(self.waiting())
        with contextlib.closing(ahead(load, groups, decoding.close)) as loaded:
            for first in loaded:
                yield from _replies(self.open_respondent(), chain([first], loaded))
                return

    def _is_done(self, question: Question) -> bool:
        return self.file.is_done(question.item, question.prompt, retry_errors=self.retry_errors)


def _picture(question: Question) -> PictureFile:
    """The first of several: the model takes one. InputError where there is none."""
    if not question.item.pictures:
        raise InputError("picture: the row has none")
    return PictureFile(question.item.pictures[0].read())


def _replies(respondent: Respondent, pictures: Iterable[_Loaded]) -> Iterator[Asked]:
    """In the questions' order; one by one, so that none waits on the way to the disk for others about its picture."""
    queried = (_queried(respondent, question, loaded) for loaded in pictures for question in loaded.questions)
    for done in answered(respondent.model, queried, respondent.width):
        asked = done.what
        for answer in done.answers:
            if isinstance(answer, InputError):  # such as a prompt that doesn't fit
                asked = replace(asked, error=str(answer))
            else:
                asked = replace(asked, reply=respondent.reply(asked.question, answer))
        yield asked


def _queried(respondent: Respondent, question: Question, loaded: _Loaded) -> pipeline.Asked[Asked]:
    if loaded.picture is None:
        return pipeline.Asked(Asked(question, None, loaded.error))
    try:
        query = respondent.query(question)
    except InputError as error:
        return pipeline.Asked(Asked(question, None, str(error)))
    return pipeline.Asked(Asked(question, None, None), loaded.picture, [query])
