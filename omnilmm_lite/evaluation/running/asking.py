"""A benchmark's questions put to a model: pictures read ahead, every answer on the disk before the next one comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from omnilmm_lite.caption.loading import ahead
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import in_background
from omnilmm_lite.engine.vision import CACHED_PICTURES, ImageFeatures
from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.predictions import PredictionFile
from omnilmm_lite.evaluation.running.question import Question, by_picture
from omnilmm_lite.evaluation.running.respondent import Reply, Respondent
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage


@dataclass(frozen=True)
class Asked:
    """What became of a question: one of `reply` and `error` is None."""

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
                yield from _answers(self.open_respondent(), chain([first], loaded))
                return

    def _is_done(self, question: Question) -> bool:
        return self.file.is_done(question.item, question.prompt, retry_errors=self.retry_errors)


def _picture(question: Question) -> PictureFile:
    """The first of several: the model takes one. InputError where there is none."""
    if not question.item.pictures:
        raise InputError("picture: the row has none")
    return PictureFile(question.item.pictures[0].read())


def _answers(respondent: Respondent, pictures: Iterator[_Loaded]) -> Iterator[Asked]:
    """A tower that shares its memory with the decoder takes seconds to open: it is opened for a window of pictures."""
    size = CACHED_PICTURES if respondent.model.parts.takes_turns else 1
    while True:
        window: list[tuple[_Loaded, ImageFeatures | None]] = []
        with respondent.model.vision.kept_open():
            for loaded in pictures:
                picture = loaded.picture
                window.append((loaded, None if picture is None else respondent.model.vision.encode(picture)))
                if len(window) == size:
                    break
        if not window:
            return
        for loaded, features in window:
            for question in loaded.questions:
                yield _ask(respondent, question, loaded, features)


def _ask(respondent: Respondent, question: Question, loaded: _Loaded, features: ImageFeatures | None) -> Asked:
    if features is None:
        return Asked(question, None, loaded.error)
    try:
        return Asked(question, respondent.answer(question, features), None)
    except InputError as error:  # such as a prompt that doesn't fit
        return Asked(question, None, str(error))
