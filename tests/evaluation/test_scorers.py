"""What holds for every scorer."""

from __future__ import annotations

from pathlib import Path

import easy_vqa
import pytest

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.data.opening import open_data
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.report.json_report import as_json
from omnilmm_lite.evaluation.report.markdown import as_markdown
from omnilmm_lite.evaluation.scorers import SCORERS
from tests.evaluation.golden import score_named

ATTRIBUTES = {"question_type": "free_form", "answer_type": "integer"}


@pytest.mark.parametrize("benchmark", SCORERS)
@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("answers", [[], [""], ["Yes", "\u732b"]])
def test_any_number_of_answers_is_scored(benchmark: Benchmark, profile: Profile, answers: list[str]) -> None:
    predictions = [
        Prediction(Item(str(n), "?", answer="7", category="color", attributes=ATTRIBUTES), text)
        for n, text in enumerate(answers)
    ]
    result = SCORERS[benchmark](predictions, profile)
    assert (result.benchmark, result.profile) == (benchmark, profile)
    assert [verdict.index for verdict in result.verdicts] == [each.item.index for each in predictions]
    assert result.unparsed == sum(verdict.extracted is None for verdict in result.verdicts)
    assert all(score.value == 0 for score in result.scores)
    assert as_markdown("m", [result])
    assert as_json("m", [result])


def test_easyvqa_counts_words() -> None:
    """All right, but for a colour in capitals, an empty answer and a wrong shape: 9,670 of 9,673."""
    items = open_data(Benchmark.EASYVQA, Path(easy_vqa.__file__).parent / "data" / "test").items
    texts = [item.answer or "" for item in items]
    for answer, wrong in (("red", "Red"), ("no", ""), ("circle", "triangle")):
        texts[texts.index(answer)] = wrong
    result = SCORERS[Benchmark.EASYVQA](
        [Prediction(item, text) for item, text in zip(items, texts, strict=True)], Profile.VEK2402
    )
    assert score_named(result, "accuracy") == pytest.approx(100 * 9670 / 9673)
    assert result.unparsed == 2
    assert {score.name for score in result.categories} == {"yes/no", "colour", "shape"}
    assert sum(score.count for score in result.categories) == 9673
