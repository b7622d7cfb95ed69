"""What differs from the published data is named with its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.checks import check
from omnilmm_lite.evaluation.data.data_set import DataSet, Problem
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring.mme import COGNITION, PERCEPTION

OPTIONS = {"A": "x", "B": "y"}


def _checked(benchmark: Benchmark, *items: Item) -> list[str]:
    return [str(problem) for problem in check(DataSet(benchmark, Path("x"), items))]


def test_mmbench_rotations() -> None:
    found = _checked(
        Benchmark.MMBENCH,
        Item("1", "?", answer="A", options=OPTIONS, place="line 2"),
        Item("1000001", "?", answer="B", options=OPTIONS, place="line 3"),
        Item("2", "?", answer="C", options=OPTIONS, place="line 4"),
        Item("1000003", "?", answer="B", options=OPTIONS, place="line 5"),
        Item("1000003", "?", answer="B", options=OPTIONS, place="line 6"),
    )
    assert found == [
        "line 6: the index '1000003' is that of line 5 too",
        "all: 5 rows, where the published file has 4329",
        "line 4: the right answer is 'C', which is none of its options",
        "all: no unrotated row of 1 question: 3",
        "all: not there once for each option: 1 question: 2; is this version 1.0?",
    ]


def test_mme_tasks_and_pairs() -> None:
    items = [
        Item(f"{task}{picture}{answer}", "?", answer=answer, category=task, group=str(picture))
        for task in (*PERCEPTION, *COGNITION)[1:]
        for picture in range(2)
        for answer in ("Yes", "No")
    ]
    found = _checked(
        Benchmark.MME, *items[:-1], Item("x", "?", answer="yes", category="OCR", group="9", place="line 9")
    )
    assert found == [
        "all: 52 rows, where the published file has 2374",
        "line 9: the right answer is 'yes', where MME has Yes or No",
        "task existence: it is missing",
        "task OCR: 1 picture has not two questions: 9",
        "task code_reasoning: 1 picture has not two questions: 1",
    ]


def test_mmmu_counts_its_validation_rows() -> None:
    items = [Item(str(n), "?", "12", split="validation" if n else "dev", category=str(n % 30)) for n in range(901)]
    assert _checked(Benchmark.MMMU, *items) == []
    assert _checked(Benchmark.MMMU, *items[:30]) == [
        "all: 29 validation questions, where MMMU has 900",
        "all: 29 subjects, where MMMU has 30",
    ]


def test_a_right_answer_that_cannot_be_is_named() -> None:
    """The kit's way is kept in the score: such a row is wrong, or of MMMU's option A."""
    choice = Item("1", "?", answer="C", options=OPTIONS, place="line 2")
    for benchmark in (Benchmark.MMBENCH, Benchmark.SEEDBENCH, Benchmark.MMMU):
        assert "line 2: the right answer is 'C', which is none of its options" in _checked(benchmark, choice)
    assert "line 2: the right answer is None, which is none of its options" in _checked(
        Benchmark.MMMU, replace(choice, answer=None, options={})
    )
    assert "line 2: the right answer is 'C', which is none of easy-VQA's words" in _checked(Benchmark.EASYVQA, choice)
    for kind, answer in (("integer", "5.0"), ("float", "x"), ("list", "1"), ("integer", None)):
        fields = {"question_type": "free_form", "answer_type": kind}
        open_one = Item("1", "?", answer=answer, place="line 3", attributes=fields)
        assert f"line 3: the right answer is {answer!r}, where one of type {kind} is needed" in _checked(
            Benchmark.MATHVISTA, open_one
        )


def test_a_row_of_mathvista_that_cannot_be_scored_is_refused_before_it_is_asked() -> None:
    fields = {"question_type": "multi_choice", "answer_type": "text", "answer_option": "A"}
    whole = Item("1", "?", answer="x", options=OPTIONS, place="line 2", attributes=fields)
    found = _checked(Benchmark.MATHVISTA, whole, replace(whole, index="2", answer="z", place="line 3"))
    assert found[1:] == ["line 3: the right answer is 'z', which is none of its choices"]
    without = replace(whole, attributes={**fields, "answer_option": "C"})
    assert _checked(Benchmark.MATHVISTA, without)[1:] == [
        "line 2: answer_option is 'C', which is none of its choices' letters"
    ]
    with pytest.raises(InputError, match=r"line 4: .*'colour'"):
        _checked(
            Benchmark.MATHVISTA, whole, replace(whole, place="line 4", attributes=fields | {"answer_type": "colour"})
        )


def test_the_readers_problems_come_first() -> None:
    problem = Problem("line 7", "no picture")
    data = DataSet(Benchmark.OBJHAL, Path("x"), (Item("0", "?"),), (problem,))
    assert check(data)[0] is problem
