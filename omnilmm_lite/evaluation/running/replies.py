"""What becomes of questions whose pictures are loaded: put to the model, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.running.question import Question
from omnilmm_lite.evaluation.running.respondent import Reply, Respondent
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.pipeline.asked import Asked
from omnilmm_lite.pipeline.pipeline import answered
from omnilmm_lite.pipeline.width import Width


@dataclass(frozen=True)
class QuestionOutcome:
    """What became of a question: one of `reply` and `error` is None, and both until it was asked."""

    question: Question
    reply: Reply | None
    error: str | None


@dataclass(frozen=True)
class Loaded:
    """The questions about one picture that are still to be asked. One of `picture` and `error` is None."""

    questions: Sequence[Question]
    picture: PreparedImage | None
    error: str | None


def replies(
    respondent: Respondent, pictures: Iterable[Loaded], width: Width | None = None
) -> Iterator[QuestionOutcome]:
    """In the questions' order; one by one, so that none waits on the way to the disk for others about its picture.
    `width`: the respondent's own, where none is given."""
    queried = (_queried(respondent, question, loaded) for loaded in pictures for question in loaded.questions)
    for done in answered(respondent.model, queried, width or respondent.width):
        asked = done.what
        for answer in done.answers:
            if isinstance(answer, InputError):  # such as a prompt that doesn't fit
                asked = replace(asked, error=str(answer))
            else:
                asked = replace(asked, reply=respondent.reply(asked.question, answer))
        yield asked


def _queried(respondent: Respondent, question: Question, loaded: Loaded) -> Asked[QuestionOutcome]:
    if loaded.picture is None:
        return Asked(QuestionOutcome(question, None, loaded.error))
    try:
        query = respondent.query(question)
    except InputError as error:
        return Asked(QuestionOutcome(question, None, str(error)))
    return Asked(QuestionOutcome(question, None, None), loaded.picture, [query])
