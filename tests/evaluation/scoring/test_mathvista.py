"""MathVista against VLMEvalKit and the authors' own scripts on the same answers, and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.mathvista_fields import MathVistaFields
from omnilmm_lite.evaluation.prompts import build_prompt
from omnilmm_lite.evaluation.scoring import mathvista, mathvista_official
from tests.evaluation.golden import load, score_named


def _prediction(number: int, case: list[Any]) -> tuple[Prediction, str]:
    question_type, answer_type, precision, choices, answer, letter, task, skills, text, extraction = case
    attributes = {
        "question_type": question_type,
        "answer_type": answer_type,
        "precision": "" if precision is None else str(precision),
        "task": task,
        "skills": json.dumps(skills),
    } | ({"answer_option": letter} if letter else {})
    options = dict(zip("ABCDEFGH", choices or [], strict=False))
    item = Item(str(number), "?", answer=answer, options=options, attributes=attributes)
    return Prediction(item, text), extraction


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return load("mathvista")


@pytest.fixture(scope="module")
def cases(golden: dict[str, Any]) -> list[tuple[Prediction, str]]:
    return [_prediction(number, case) for number, case in enumerate(golden["cases"])]


def test_agrees_with_the_kit(golden: dict[str, Any], cases: list[tuple[Prediction, str]]) -> None:
    answers = [answer for answer, _ in cases]
    result = mathvista.score(answers, Profile.VEK2402)
    assert [each.correct for each in result.verdicts] == [row[0] for row in golden["kit"]]
    letters = [
        (each.extracted, row[2])
        for each, (answer, _), row in zip(result.verdicts, cases, golden["kit"], strict=True)
        if answer.item.options
    ]
    assert [ours for ours, _ in letters] == [theirs for _, theirs in letters]
    assert score_named(result, "accuracy") == pytest.approx(golden["kit_acc"]["Overall"])
    judged = mathvista.score(answers, Profile.VEK2402, {answer.item.index: text for answer, text in cases})
    assert [each.correct for each in judged.verdicts] == [row[3] for row in golden["kit"]]
    for name, value in golden["kit_acc_judged"].items():
        assert score_named(judged, "accuracy" if name == "Overall" else name) == pytest.approx(value)


def test_agrees_with_the_authors_scripts(golden: dict[str, Any], cases: list[tuple[Prediction, str]]) -> None:
    for (answer, judged), row in zip(cases, golden["official"], strict=True):
        extraction, expected = row[0], iter(row[1:])
        by_rules = mathvista_official.extract(answer.text, answer.item)
        assert (by_rules or "") == extraction
        for found in (extraction, judged if by_rules is None else by_rules):
            for empty_counts in (False, True):
                value = mathvista_official.normalize(found, answer.item, empty_counts=empty_counts)
                assert value == next(expected), (found, empty_counts)
                assert (value is not None and value == answer.item.answer) == next(expected)


def test_scores_by_the_authors_rules(golden: dict[str, Any], cases: list[tuple[Prediction, str]]) -> None:
    result = mathvista.score([answer for answer, _ in cases], Profile.OFFICIAL)
    rights = [row[2] for row in golden["official"]]
    assert [each.correct for each in result.verdicts] == rights
    with_empty = [row[4] for row in golden["official"]]
    name = "accuracy, nothing extracted taken for the shortest choice"
    assert score_named(result, name) == pytest.approx(100 * sum(with_empty) / len(cases))
    assert sum(with_empty) > sum(rights)


def _number(answer: str, kind: str = "integer") -> Item:
    return Item("1", "How many?", answer=answer, attributes={"question_type": "free_form", "answer_type": kind})


def test_zero_and_lists_count_in_the_second_figure_alone() -> None:
    answers = [Prediction(_number("0"), "0"), Prediction(_number("[1, 2]", "list"), "[1,2]")]
    result = mathvista.score(answers, Profile.VEK2402)
    assert score_named(result, "accuracy") == 0
    assert score_named(result, "accuracy, 0 and lists counted too") == 100


@pytest.mark.parametrize(
    ("extraction", "kind", "value"),
    [("7.9", "integer", "7"), ("-7.9", "integer", "-7"), ("nan", "integer", None), ("1.25", "float", "1.2")],
)
def test_numbers_are_cut_or_rounded(extraction: str, kind: str, value: str | None) -> None:
    """An integer is cut off, a float rounded to its precision, here half to even."""
    item = _number("1", kind)
    item = replace(item, attributes={**item.attributes, "precision": "1"})
    assert mathvista_official.normalize(extraction, item, empty_counts=False) == value


def test_an_unknown_kind_of_answer_is_refused() -> None:
    with pytest.raises(InputError, match="answer_type is 'colour'"):
        MathVistaFields.of(_number("red", "colour"))


def test_the_prompt_is_testminis_query() -> None:
    """Pids 2 and 3 of query.json, worked out from what its README says of hints, units and choices."""
    item = Item(
        "2",
        "how much?",
        answer="1000",
        attributes={"question_type": "free_form", "answer_type": "integer", "unit": "g"},
    )
    assert build_prompt(Benchmark.MATHVISTA, item, Profile.VEK2402) == (
        "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at "
        "the end.\nQuestion: how much? (Unit: g)"
    )
    choice = Item(
        "3",
        "which?",
        answer="x",
        options={"A": "x", "B": "y"},
        attributes={"question_type": "multi_choice", "answer_type": "text"},
    )
    assert build_prompt(Benchmark.MATHVISTA, choice, Profile.OFFICIAL) == (
        "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\n"
        "Question: which?\nChoices:\n(A) x\n(B) y"
    )


@pytest.mark.parametrize(
    ("first", "second", "distance"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0)]
)
def test_edit_distances_by_hand(first: str, second: str, distance: int) -> None:
    assert mathvista_official.edit_distance(first, second) == distance


@given(st.text(), st.sampled_from(["integer", "float", "list", "text"]), st.lists(st.text(), max_size=4))
def test_no_answer_raises(text: str, kind: str, options: list[str]) -> None:
    attributes = {
        "question_type": "multi_choice" if kind == "text" else "free_form",
        "answer_type": kind,
        "precision": "1",
    }
    item = Item("1", "?", answer="1.0", options=dict(zip("ABCD", options, strict=False)), attributes=attributes)
    for profile in Profile:
        result = mathvista.score([Prediction(item, text)], profile, {"1": text})
        assert kind != "text" or result.verdicts[0].extracted in {None, "Z", *item.options, *options}
