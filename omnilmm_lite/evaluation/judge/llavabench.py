"""What LLaVA-Bench's judge is asked: GPT-4's answer first, the model's second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.official.llavabench import CAPTION, REFERENCE_ANSWER
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.request import JudgeRequest

SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
TEMPERATURE = 0.2


def requests(predictions: Sequence[Prediction], rubric: Mapping[str, tuple[str, str]]) -> list[JudgeRequest]:
    """One a question. `rubric` is what `read_llava_rubric` gives; InputError where it lacks a category."""
    return [
        JudgeRequest(prediction.item.index, _content(prediction, rubric), SYSTEM, TEMPERATURE)
        for prediction in predictions
    ]


def _content(prediction: Prediction, rubric: Mapping[str, tuple[str, str]]) -> str:
    item = prediction.item
    if item.category is None or item.category not in rubric:
        raise InputError(f"the rubric has no rule for {item.category!r} ({item.place}); give LLaVA's rule.json")
    role, instruction = rubric[item.category]
    answers = (item.attributes[REFERENCE_ANSWER], prediction.text)
    parts = [("Context", item.attributes[CAPTION]), ("Question", item.question)]
    text = "".join(f"[{name}]\n{content}\n\n" for name, content in parts)
    for number, answer in enumerate(answers, start=1):
        text += f"[{role} {number}]\n{answer}\n\n[End of {role} {number}]\n\n"
    return f"{text}[System]\n{instruction}\n\n"
