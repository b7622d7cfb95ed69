"""MMHal-Bench's response file and what its judge is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.official.mmhal import CONTENT, read_template
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.request import JudgeRequest, filled
from omnilmm_lite.files import durable_file

ROLE = "Assistant:"  # cut out of answers, as RLHF-V does


def answer_text(prediction: Prediction) -> str:
    """As it is judged."""
    return prediction.text.replace(ROLE, "").strip()


def requests(predictions: Sequence[Prediction], rubric: str) -> list[JudgeRequest]:
    """One a question, temperature 0, no system turn. `rubric` is what `read_mmhal_rubric` gives."""
    return [
        JudgeRequest(
            prediction.item.index,
            filled(
                rubric,
                (
                    ", ".join(json.loads(prediction.item.attributes[CONTENT])),
                    prediction.item.question,
                    prediction.item.answer or "",
                    answer_text(prediction),
                ),
            ),
        )
        for prediction in predictions
    ]


def write_responses(template: Path, predictions: Sequence[Prediction], path: Path) -> None:
    """The template with `model_answer` filled in, for the benchmark's own scripts.

    InputError where the template has another number of questions.
    """
    entries = read_template(template)
    if len(entries) != len(predictions):
        raise InputError(
            f"{template} has {counted(len(entries), 'question')} for {counted(len(predictions), 'answer')}"
        )
    answered = [
        {**entry, "model_answer": answer_text(prediction)}
        for entry, prediction in zip(entries, predictions, strict=True)
    ]
    durable_file.write_text(path, json.dumps(answered, indent=4, ensure_ascii=False) + "\n")
