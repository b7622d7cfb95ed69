"""What MathVista's judge is asked: the answer that stands in a model's response."""

from __future__ import annotations

from collections.abc import Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.request import JudgeRequest
from omnilmm_lite.evaluation.prompts import build_prompt
from omnilmm_lite.evaluation.scoring import mathvista, mathvista_official

KIT_TOKENS = 128  # of a reply, at most


def unread(predictions: Sequence[Prediction], profile: Profile) -> list[Prediction]:
    """The answers that the profile's own judge sees: those that its rules can't read, and with the kit's rules every
    number that isn't the right one."""
    if profile is Profile.OFFICIAL:
        return [each for each in predictions if mathvista_official.extract(each.text, each.item) is None]
    return [each for each in predictions if not mathvista.is_decided(each)]


def requests(predictions: Sequence[Prediction], profile: Profile, rubric: str) -> list[JudgeRequest]:
    """One an answer, temperature 0, no system turn. `rubric`: what stands before the question."""
    if profile is Profile.OFFICIAL:
        return [JudgeRequest(each.item.index, _authors(each, rubric.strip())) for each in predictions]
    return [JudgeRequest(each.item.index, _kit(each, rubric), max_tokens=KIT_TOKENS) for each in predictions]


def _kit(prediction: Prediction, rubric: str) -> str:
    query = build_prompt(Benchmark.MATHVISTA, prediction.item, Profile.VEK2402)
    return f"{rubric}{query}\nModel respone: {prediction.text}Extracted answer:"  # as it is spelt there


def _authors(prediction: Prediction, rubric: str) -> str:
    query = build_prompt(Benchmark.MATHVISTA, prediction.item, Profile.OFFICIAL)
    return f"{rubric}\n\n{query}\n\n{prediction.text}\n\nExtracted answer: "
