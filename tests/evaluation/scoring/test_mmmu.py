"""MMMU against VLMEvalKit's own evaluation and the authors' own parsing of the same answers, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.prompts import build_prompt
from omnilmm_lite.evaluation.scoring import mmmu, mmmu_official
from tests.evaluation.golden import cell, load, named_rows, predictions, score_named


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return load("mmmu")


@pytest.fixture(scope="module")
def answers(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[Prediction]:
    rows = []
    for row in named_rows(golden):
        count = int(row.pop("pictures"))  # 0: one that isn't in a list
        rows.append(row | {"image": str([cell()] * count) if count else cell()})
    path = tmp_path_factory.mktemp("mmmu") / "MMMU_DEV_VAL.tsv"
    return predictions(path, Benchmark.MMMU, rows, golden["predictions"])


def test_agrees_with_the_kit(golden: dict[str, Any], answers: list[Prediction]) -> None:
    result = mmmu.score(answers, Profile.VEK2402)
    assert [each.extracted for each in result.verdicts] == golden["letters"]
    assert [int(each.correct) for each in result.verdicts] == golden["hits"]
    assert result.unparsed == golden["letters"].count(None)
    for split, accuracy in zip(golden["acc"]["split"], golden["acc"]["Overall"], strict=True):
        assert score_named(result, f"kit, {split}") == pytest.approx(100 * accuracy)
    validation = golden["acc"]["split"].index("validation")
    for subject in ("Accounting", "Art_Theory", "Math", "Arts", "Science"):
        assert score_named(result, subject) == pytest.approx(100 * golden["acc"][subject][validation])


def test_agrees_with_the_kit_where_several_pictures_are_shown(
    golden: dict[str, Any], answers: list[Prediction]
) -> None:
    found = [mmmu.kit_verdict(each, Profile.VEK2402, single_pictures_only=False).extracted for each in answers]
    assert found == golden["letters_shown"]


def test_agrees_with_the_authors_script(golden: dict[str, Any], answers: list[Prediction]) -> None:
    result = mmmu.score(answers, Profile.OFFICIAL)
    assert [each.correct for each in result.verdicts] == [right for _, right in golden["official"]]
    for each, verdict, (parsed, _) in zip(answers, result.verdicts, golden["official"], strict=True):
        if each.item.options:
            assert verdict.extracted == parsed
        else:
            assert sorted({str(value) for value in mmmu_official.parse_open(each.text)}) == parsed


def test_prompts(golden: dict[str, Any], answers: list[Prediction]) -> None:
    for profile, prompts in ((Profile.VEK2402, golden["prompts"]), (Profile.OFFICIAL, golden["official_prompts"])):
        shown = [build_prompt(Benchmark.MMMU, each.item, profile) for each in answers[: len(prompts)]]
        assert shown == prompts


def test_an_open_question_of_the_kit_by_hand() -> None:
    item = Item("1", "?", answer="3.5", pictures=(None,))  # type: ignore[arg-type]
    assert mmmu.options_and_gold(item, Profile.VEK2402) == ({"A": "3.5", "B": "Other Answers"}, "A")
    letter = Item("1", "?", answer="B")
    assert mmmu.options_and_gold(letter, Profile.VEK2402)[1] == "B"
    verdict = mmmu.kit_verdict(Prediction(item, "about 3.5"), Profile.VEK2402, single_pictures_only=True)
    assert (verdict.extracted, verdict.correct) == ("A", True)


def test_a_right_answer_that_is_no_letter_is_option_a_to_the_kit() -> None:
    """multiple_choice_eval replaces whatever isn't a capital letter in its map of right answers, of any row."""
    item = Item("1", "?", answer="cat", options={"A": "dog", "B": "cat"})
    assert mmmu.options_and_gold(item, Profile.VEK2402) == ({"A": "dog", "B": "cat"}, "A")
    assert mmmu.options_and_gold(Item("1", "?"), Profile.VEK2402) == ({"B": "Other Answers"}, "A")


def test_a_guess_is_worth_its_chance() -> None:
    item = Item("1", "?", answer="B", options=dict(zip("ABCD", "wxyz", strict=True)))
    result = mmmu.score([Prediction(item, "hm"), Prediction(item, "(B)")], Profile.OFFICIAL)
    assert score_named(result, "official") == 50
    assert score_named(result, "official, a guess where a choice can't be read") == 62.5
    assert result.unparsed == 1


OPTIONS = {"A": "a red cat", "B": "blue", "C": "two dogs"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("(A) no, (C)", "C"),
        ("A then B", "B"),
        ("B.", "B"),
        ("B. ", None),
        ("it is the blue one", None),  # five words are too few for a text
        ("it is certainly the blue one", "B"),
        ("two dogs, or rather the blue ones behind", "B"),
        ("(b)", None),
        ("", None),
    ],
)
def test_official_choices_by_hand(answer: str, letter: str | None) -> None:
    assert mmmu_official.parse_choice(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("x = 5", {5.0}),
        ("x = 5\nso 7", {7.0}),  # "=" counts on the last line alone
        ("The answer is 1,234.567.", {1234.57, 1234.0, 234.57}),
        ("It is b", {" b", "b "}),
        ("blue", {"blue"}),
    ],
)
def test_official_open_answers_by_hand(answer: str, values: set[str | float]) -> None:
    assert set(mmmu_official.parse_open(answer)) == values


@given(st.text(), st.dictionaries(st.sampled_from("ABCDEFGHI"), st.text()))
def test_a_letter_is_one_of_the_options(answer: str, options: dict[str, str]) -> None:
    assert mmmu_official.parse_choice(answer, options) in {None, *options}


@given(st.one_of(st.text(), st.lists(st.sampled_from(["is ", "=", "1,000", "1e3", ".", "\n", "-", "x"])).map("".join)))
def test_open_answers_are_always_read(answer: str) -> None:
    values = mmmu_official.parse_open(answer)
    assert values
    assert mmmu_official.is_right_open(values, ["7"]) in (True, False)
