"""MME against VLMEvalKit's own extraction and rating of the same answers, and by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.scoring import mme
from tests.evaluation.golden import cell, load, predictions, score_named


def test_agrees_with_the_kit(tmp_path: Path) -> None:
    golden = load("mme")
    rows = [
        {"index": str(index), "image": cell(), "image_path": path, "question": "?", "answer": answer, "category": task}
        for index, path, answer, task in golden["rows"]
    ]
    answers = predictions(tmp_path / "MME.tsv", Benchmark.MME, rows, golden["predictions"])
    result = mme.score(answers, Profile.VEK2402)
    assert [each.extracted or "Unknown" for each in result.verdicts] == golden["extracted"]
    assert result.unparsed == golden["extracted"].count("Unknown")
    rating = dict(golden["rating"])
    cognition = rating.pop("reasoning")
    assert score_named(result, "cognition") == pytest.approx(cognition)
    assert score_named(result, "MME") == pytest.approx(cognition + rating["perception"])
    for name, value in rating.items():
        assert score_named(result, name) == pytest.approx(value)


@pytest.mark.parametrize(
    ("answer", "kit", "official"),
    [
        ("Yes.", "Yes", "Yes"),
        ("yes, no", None, "Yes"),
        ("Yes.No", None, "Yes"),
        ("eyes", None, "Yes"),
        ("None", None, "No"),
        ("Not sure", None, "No"),
        ("now", None, "No"),
        ("The answer is yes", "Yes", None),
        ("**Yes**", None, None),
        ("Yes:", None, "Yes"),
        ("yes/no", None, "Yes"),
        ("Yes, no doubt", None, "Yes"),
        (f"{'a. ' * 31}yes.", "Yes", None),
        (f"{'a. ' * 32}yes.", None, None),  # the 33rd full stop stays
        ("", None, None),
    ],
)
def test_rules_by_hand(answer: str, kit: str | None, official: str | None) -> None:
    assert mme.extract_by_kit(answer) == kit
    assert mme.extract_officially(answer) == official


@given(st.one_of(st.text(), st.lists(st.sampled_from(["yes", "no", ".", ",", " ", "1", "-"])).map("".join)))
def test_any_answer_is_yes_no_or_unread(answer: str) -> None:
    assert mme.extract_by_kit(answer) in {"Yes", "No", None}
    assert mme.extract_officially(answer) in {"Yes", "No", None}


def test_a_task_is_accuracy_and_pairs() -> None:
    """Three of four right, one pair of two: 75 + 50."""
    texts = {"1.jpg": ("Yes", "No"), "2.jpg": ("Yes", "Yes")}
    answers = [
        Prediction(Item(f"{name}{right}", "?", answer=right, category="color", group=name), text)
        for name, both in texts.items()
        for right, text in zip(("Yes", "No"), both, strict=True)
    ]
    result = mme.score(answers, Profile.VEK2402)
    assert score_named(result, "color") == 125
    assert score_named(result, "MME") == 125
    assert any("13 of 14 tasks are missing" in note for note in result.notes)
    interval = result.scores[0].interval
    assert interval is not None and interval.error == pytest.approx(75)  # points 200 and 50, over the square root of 2
