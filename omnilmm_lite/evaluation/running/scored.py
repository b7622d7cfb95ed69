"""Answers to results: by the rules alone, by COCO's annotations, by a judge; and by the likeliest option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.data.places import COCO, SYNONYMS, find_beside
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.predictions import PredictionFile
from omnilmm_lite.evaluation.running.judged import Pictures, score_replies, with_judge
from omnilmm_lite.evaluation.running.judging import ALWAYS, Replies
from omnilmm_lite.evaluation.running.question import Question
from omnilmm_lite.evaluation.scorers import SCORERS
from omnilmm_lite.evaluation.scoring.objhal import chair
from omnilmm_lite.evaluation.scoring.objhal.pictures import read_present
from omnilmm_lite.evaluation.scoring.objhal.vocabulary import Vocabulary
from omnilmm_lite.evaluation.scoring.result import Result, Score

LIKELIHOOD = "option likelihood"
RANKED_NOTE = (
    "option likelihood: the option whose letter is the likeliest first token, so nothing has to be read; questions "
    "without options count by their answers"
)

# What a judge replies to answers; None where nobody judges.
Judge = Callable[[Sequence[Prediction]], Replies]


@dataclass(frozen=True)
class Scored:
    """`result` is None where there is nothing to score by, which `reason` says. `unanswered`: questions without an
    answer, such as those whose picture can't be read; they count in no figure."""

    benchmark: Benchmark
    questions: tuple[Question, ...]
    predictions: tuple[Prediction, ...]
    unanswered: tuple[Question, ...]
    result: Result | None
    reason: str


def score_answers(
    benchmark: Benchmark,
    profile: Profile,
    data: Path,
    questions: Sequence[Question],
    file: PredictionFile,
    judge: Judge | None = None,
) -> Scored:
    """What `file` holds of these questions' answers. InputError where data that scoring needs can't be read."""
    predictions = file.predictions((each.item, each.prompt) for each in questions)
    answered = {each.item.index for each in predictions}
    unanswered = tuple(each for each in questions if each.item.index not in answered)
    result, reason = _score(benchmark, profile, data, predictions, judge)
    if result is not None and benchmark in SCORERS:
        result = _with_likelihood(result, profile, questions, file, predictions)
    return Scored(benchmark, tuple(questions), tuple(predictions), unanswered, result, reason)


def _score(
    benchmark: Benchmark, profile: Profile, data: Path, predictions: Sequence[Prediction], judge: Judge | None
) -> tuple[Result | None, str]:
    """A result, or why there is none."""
    if not predictions:
        return None, "there are no answers to score"
    if benchmark in SCORERS:
        result = SCORERS[benchmark](predictions, profile)
        return (result if judge is None else with_judge(result, predictions, judge(predictions))), ""
    if benchmark in ALWAYS:
        if judge is not None:
            return score_replies(benchmark, predictions, judge(predictions)), ""
        return None, "a judge has to read the answers: see --judge and --export-judge-requests"
    coco, synonyms = find_beside(data, COCO), find_beside(data, SYNONYMS)
    if coco is None or synonyms is None:
        missing = " and ".join(name for name, found in ((COCO, coco), (SYNONYMS, synonyms)) if found is None)
        return None, f"to score it offline, COCO's annotations and a synonym list are needed; not beside it: {missing}"
    vocabulary = Vocabulary.read(synonyms)
    present = read_present([each.item for each in predictions], coco, vocabulary)
    result = chair.score(predictions, present, vocabulary)
    if judge is not None:
        result = with_judge(result, predictions, judge(predictions), Pictures(present, vocabulary))
    return result, ""


def _with_likelihood(
    result: Result,
    profile: Profile,
    questions: Sequence[Question],
    file: PredictionFile,
    predictions: Sequence[Prediction],
) -> Result:
    """A second figure beside each one that the profile's own rule gives: answers replaced by the likeliest letters."""
    prompts = {each.item.index: each.prompt for each in questions}
    letters = [file.likeliest(each.item, prompts[each.item.index]) for each in predictions]
    if not any(letters):
        return result
    chosen = [Prediction(each.item, letter or each.text) for each, letter in zip(predictions, letters, strict=True)]
    ranked = SCORERS[result.benchmark](chosen, profile)
    count = 2 if result.benchmark is Benchmark.MMBENCH else 1  # circular and vanilla
    more: list[Score] = [replace(each, name=f"{LIKELIHOOD}, {each.name}") for each in ranked.scores[:count]]
    return replace(result, scores=(*result.scores, *more), notes=(*result.notes, RANKED_NOTE))
