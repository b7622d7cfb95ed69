"""What VLMEvalKit's judge is asked about a choice: which option an answer means that its rules can't read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.judge.request import JudgeRequest, filled
from omnilmm_lite.evaluation.judge.rubric import MatchingRubric
from omnilmm_lite.evaluation.scoring.mmbench import groups_of
from omnilmm_lite.evaluation.scoring.mmmu import options_and_gold, text_for_kit
from omnilmm_lite.evaluation.scoring.option_letters import extract_option

OPTIONS_HEAD = "There are several options: \n"
CHINESE = re.compile("[\u4e00-\u9fff]")


def unread(benchmark: Benchmark, predictions: Sequence[Prediction]) -> list[Prediction]:
    """The answers that the kit's judge sees: those that its rules can't read, but for MMBench's rotations of a question
    of which another is wrong already."""
    found = [each for each in predictions if _letter(benchmark, each) is None]
    if benchmark is not Benchmark.MMBENCH:
        return found
    lost = {
        question
        for question, group in groups_of(predictions).items()
        if any(_letter(benchmark, each) not in (None, each.item.answer) for each in group)
    }
    waiting = {
        each.item.index for question, group in groups_of(found).items() if question not in lost for each in group
    }
    return [each for each in found if each.item.index in waiting]


def requests(benchmark: Benchmark, predictions: Sequence[Prediction], rubric: MatchingRubric) -> list[JudgeRequest]:
    """One an answer, temperature 0, no system turn."""
    return [JudgeRequest(each.item.index, _content(benchmark, each, rubric)) for each in predictions]


def _content(benchmark: Benchmark, prediction: Prediction, rubric: MatchingRubric) -> str:
    item = prediction.item
    template = rubric.chinese if CHINESE.search(item.question) else rubric.english
    options = "".join(f"{letter}. {text}\n" for letter, text in _options(benchmark, item).items())
    return filled(template, (item.question, OPTIONS_HEAD + options, _text(benchmark, prediction)))


def _letter(benchmark: Benchmark, prediction: Prediction) -> str | None:
    return extract_option(_text(benchmark, prediction), _options(benchmark, prediction.item))


def _options(benchmark: Benchmark, item: Item) -> Mapping[str, str]:
    return options_and_gold(item, Profile.VEK2402)[0] if benchmark is Benchmark.MMMU else item.options_of_kit


def _text(benchmark: Benchmark, prediction: Prediction) -> str:
    return text_for_kit(prediction) if benchmark is Benchmark.MMMU else prediction.text
