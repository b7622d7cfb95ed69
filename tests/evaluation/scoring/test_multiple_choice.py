"""MMBench and SEED-Bench against VLMEvalKit's own evaluation of the same answers, and by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.prompts import build_prompt
from omnilmm_lite.evaluation.scoring import mmbench, seedbench
from omnilmm_lite.evaluation.scoring.option_letters import REFUSED, extract_option
from tests.evaluation.golden import cell, load, named_rows, predictions, score_named

OPTIONS = {"A": "a red cat", "B": "blue", "C": "two dogs", "D": "Paris"}


def test_mmbench_agrees_with_the_kit(tmp_path: Path) -> None:
    golden = load("mmbench")
    rows = [
        row | {"image": cell() if int(row["index"]) < 10**6 else str(int(row["index"]) % 10**6)}
        for row in named_rows(golden)
    ]
    answers = predictions(tmp_path / "MMBench_DEV_EN.tsv", Benchmark.MMBENCH, rows, golden["predictions"])
    result = mmbench.score(answers, Profile.VEK2402)
    assert [each.extracted for each in result.verdicts] == golden["letters"]
    assert result.unparsed == golden["letters"].count(None)
    by_question = {
        question: all(
            verdict.correct
            for verdict, answer in zip(result.verdicts, answers, strict=True)
            if mmbench.question_of(answer.item) == question
        )
        for question in {mmbench.question_of(answer.item) for answer in answers}
    }
    assert by_question == {int(index): bool(hit) for index, hit in golden["hits"].items()}
    assert score_named(result, "circular") == pytest.approx(100 * golden["acc"]["Overall"][0])
    for ours, theirs in (("coarse_perception", "CP"), ("logic_reasoning", "LR"), ("colour", "colour")):
        assert score_named(result, ours) == pytest.approx(100 * golden["acc"][theirs][0])


def test_seedbench_agrees_with_the_kit(tmp_path: Path) -> None:
    golden = load("seedbench")
    rows = [row | {"image": cell()} for row in named_rows(golden)]
    answers = predictions(tmp_path / "SEEDBench_IMG.tsv", Benchmark.SEEDBENCH, rows, golden["predictions"])
    result = seedbench.score(answers, Profile.VEK2402)
    assert [each.extracted for each in result.verdicts] == golden["letters"]
    assert score_named(result, "accuracy") == pytest.approx(100 * golden["acc"]["Overall"][0])
    for name in ("Scene Understanding", "Text Recognition", "Visual Reasoning"):
        assert score_named(result, name) == pytest.approx(100 * golden["acc"][name][0])
    bare = sum(answer.text == answer.item.answer for answer in answers)
    assert score_named(result, "accuracy, answers that are the bare letter") == pytest.approx(100 * bare / len(rows))


@pytest.mark.parametrize("name", ["mmbench", "seedbench"])
def test_prompts_are_the_kits(name: str, tmp_path: Path) -> None:
    golden, benchmark = load(name), Benchmark(name)
    rows = [row | {"image": cell()} for row in named_rows(golden)]
    answers = predictions(tmp_path / "data.tsv", benchmark, rows, golden["predictions"])
    prompts = golden["prompts"]
    assert [build_prompt(benchmark, each.item, Profile.VEK2402) for each in answers[: len(prompts)]] == prompts


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A cat", "A"),  # the article is read as an option
        ("(B) or (C)", None),
        ("A or B, but blue", "B"),  # two letters; then the only option whose text is in it
        ("B.", "B"),
        ("b", None),
        ("\uff22", None),
        ("B\u3000x", "B"),
        ("B\u200bx", None),
        ("'B'", None),
        ("in PARIS", "D"),
        ("Cannot determine the answer", REFUSED),
        ("I see Z and blue", REFUSED),
        ("I\u2019m sorry, but without the image provided", None),
        ("Failed to obtain answer via API: B blue", "B"),  # by the text, as letters are skipped
        ("Failed to obtain answer via API: B", None),
        ("", None),
    ],
)
def test_letters_by_hand(answer: str, letter: str | None) -> None:
    assert extract_option(answer, OPTIONS) == letter


@given(st.text(), st.dictionaries(st.sampled_from("ABCDEFGHI"), st.text()))
def test_a_letter_is_one_of_the_options(answer: str, options: dict[str, str]) -> None:
    assert extract_option(answer, options) in {None, REFUSED, *options}


@given(st.lists(st.sampled_from(["A", "B", "C", "AB", ".", "(", ")", " ", "blue", "Z"]), max_size=8).map("".join))
def test_near_letters_too(answer: str) -> None:
    assert extract_option(answer, OPTIONS) in {None, REFUSED, *OPTIONS}


def test_an_option_that_reads_as_absent_counts_in_one_of_two_figures() -> None:
    item = Item("1", "How many?", answer="B", options={"A": "one", "B": "None"})
    result = mmbench.score([Prediction(item, "B")], Profile.VEK2402)
    assert score_named(result, "circular") == 0
    assert score_named(result, 'circular, options such as "None" kept') == 100
    assert result.unparsed == 1
    assert score_named(mmbench.score([Prediction(item, "B")], Profile.OFFICIAL), "circular") == 100


def test_one_wrong_rotation_fails_the_question() -> None:
    rows = [Item("7", "?", answer="A", options={"A": "x", "B": "y"}), Item("1000007", "?", answer="B", options=OPTIONS)]
    right = [Prediction(rows[0], "A"), Prediction(rows[1], "B")]
    assert mmbench.score(right, Profile.VEK2402).scores[0].value == 100
    wrong = mmbench.score([right[0], Prediction(rows[1], "C")], Profile.VEK2402)
    assert (score_named(wrong, "circular"), score_named(wrong, "vanilla")) == (0, 100)


def test_rotations_without_their_question_are_told() -> None:
    item = Item("1000007", "?", answer="B", options=OPTIONS)
    result = mmbench.score([Prediction(item, "B")], Profile.VEK2402)
    assert result.scores[0].count == 0
    assert any("1 question is left out" in note for note in result.notes)


def test_an_index_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="line 3 has the index 'x1'"):
        mmbench.score([Prediction(Item("x1", "?", place="line 3"), "B")], Profile.VEK2402)
