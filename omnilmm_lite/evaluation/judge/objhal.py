"""What Object HalBench's judge is asked: which objects an answer names; and how its replies are read."""

from __future__ import annotations

import json
from collections.abc import Sequence

from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.request import JudgeRequest
from omnilmm_lite.evaluation.judge.rubric import OBJECTS_PLACES
from omnilmm_lite.evaluation.scoring.objhal.chair import cleaned

SHORT = 3  # words of an answer that RLHF-V takes for one without objects
TEMPERATURE, TOKENS = 0.2, 512


def unread(predictions: Sequence[Prediction]) -> list[Prediction]:
    """All but those of SHORT words or fewer."""
    return [each for each in predictions if len(cleaned(each.text).split()) > SHORT]


def requests(predictions: Sequence[Prediction], rubric: str) -> list[JudgeRequest]:
    """One an answer; everything stands in the system's turn. `rubric` is what `read_objects_rubric` gives."""
    question, answer = OBJECTS_PLACES
    return [
        JudgeRequest(
            each.item.index,
            None,
            rubric.replace(question, each.item.question).replace(answer, cleaned(each.text)),
            TEMPERATURE,
            TOKENS,
        )
        for each in predictions
    ]


def parse_objects(reply: str) -> list[str] | None:
    """The JSON list of texts that a reply is, or that its last line is; None where there is none."""
    for text in (reply, reply.strip().split("\n")[-1] if '["' in reply else ""):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else None
    return None
