"""Rows with one thing wrong in them: named and left out, and the others are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.checks import check
from omnilmm_lite.evaluation.data.opening import open_data
from tests.evaluation.golden import cell, picture, write_tsv

Write = Callable[[Path, dict[str, Any]], Path]
MATHVISTA = {
    "question": "How many?", "image": "1.png", "answer": "5", "question_type": "free_form", "answer_type": "integer",
    "precision": None, "unit": None, "choices": None, "metadata": {"task": "t", "skills": ["x"]},
}  # fmt: skip
MMHAL = {
    "question_type": "attribute", "image_src": "http://x/1.png", "image_content": ["a"], "question": "What?",
    "gt_answer": "That.",
}  # fmt: skip
SEEDBENCH = {
    "question_id": "1", "question_type_id": 5, "data_type": "image", "data_id": "1", "question": "What?", "answer": "A",
    **{f"choice_{letter}": letter for letter in "abcd"},
}  # fmt: skip
MMMU = {
    "id": "validation_Art_1", "question": "What?", "options": "['x', 'y']", "answer": "A",
    "question_type": "multiple-choice",
}  # fmt: skip


def _mathvista(folder: Path, odd: dict[str, Any]) -> Path:
    return _json(folder / "testmini.json", {"1": MATHVISTA | odd, "2": MATHVISTA})


def _mmhal(folder: Path, odd: dict[str, Any]) -> Path:
    return _json(folder / "response_template.json", [MMHAL | odd, MMHAL])


def _seedbench(folder: Path, odd: dict[str, Any]) -> Path:
    return _json(folder / "SEED-Bench.json", {"questions": [SEEDBENCH | odd, SEEDBENCH | {"question_id": "2"}]})


def _objhal(folder: Path, odd: dict[str, Any]) -> Path:
    row = {"question": "What?", "image": cell(), "image_id": 1}
    path = folder / "o.jsonl"
    path.write_text(f"{json.dumps(row | odd)}\n{json.dumps(row)}\n", encoding="utf-8")
    return path


def _mmmu(folder: Path, odd: dict[str, Any]) -> Path:
    """Two files, since one has one type a column."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = MMMU | {"image_1": {"bytes": picture(), "path": "1.png"}}
    for name, each in (("dev", row | odd), ("validation", row)):
        parquet.write_table(pyarrow.Table.from_pylist([each]), folder / f"{name}.parquet")
    return folder


def _tsv(folder: Path, odd: dict[str, Any]) -> Path:
    row = {"index": "1", "image": cell(), "question": "What?", "caption": "c", "gpt4_ans": "g", "category": "conv"}
    return write_tsv(folder / "LLaVABench.tsv", [row | odd, row | {"index": "2"}])


def _json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("benchmark", "write", "odd", "what"),
    [
        (Benchmark.MATHVISTA, _mathvista, {"question": " "}, "it has no question"),
        (Benchmark.MATHVISTA, _mathvista, {"metadata": {"skills": "abc"}}, "skills are 'abc'"),
        (Benchmark.MATHVISTA, _mathvista, {"metadata": {"skills": 5}}, "skills are 5"),
        (Benchmark.MATHVISTA, _mathvista, {"metadata": {"skills": [1, "a"]}}, "skills are [1, 'a']"),
        (Benchmark.MATHVISTA, _mathvista, {"question_type": "quiz"}, "question_type is 'quiz'"),
        (Benchmark.MATHVISTA, _mathvista, {"answer_type": "colour"}, "answer_type is 'colour'"),
        (Benchmark.MATHVISTA, _mathvista, {"precision": 1e999}, "precision is 'inf'"),
        (
            Benchmark.MATHVISTA, _mathvista, {"choices": list("abc" * 9)},
            "it has 27 options, more than there are letters",
        ),
        (Benchmark.MMHAL, _mmhal, {"image_src": "http://["}, "'image_src' is 'http://[', which names no picture"),
        (Benchmark.MMHAL, _mmhal, {"image_src": "http://x/"}, "'image_src' is 'http://x/', which names no picture"),
        (Benchmark.MMHAL, _mmhal, {"question": ""}, "it has no question"),
        (Benchmark.SEEDBENCH, _seedbench, {"question_id": ""}, "it has no index"),
        (
            Benchmark.SEEDBENCH, _seedbench, {"question_type_id": 12},
            "its question_type_id is '12', where single pictures have 1 to 9",
        ),
        (Benchmark.OBJHAL, _objhal, {"image": ""}, "it has no picture"),
        (Benchmark.OBJHAL, _objhal, {"image_id": "9" * 20}, f"image_id '{'9' * 20}' is no number of COCO's"),
        (Benchmark.MMMU, _mmmu, {"image_1": "x"}, "image_1 is 'x', where a picture's bytes and path are needed"),
        (
            Benchmark.MMMU, _mmmu, {"image_1": {"path": "x"}},
            "image_1 is {'path': 'x'}, where a picture's bytes and path are needed",
        ),
        (Benchmark.MMMU, _mmmu, {"options": "[]"}, "its options are no list of any"),
        (
            Benchmark.MMMU, _mmmu, {"question_type": "quiz"},
            "its question_type is 'quiz', where MMMU has multiple-choice and open",
        ),
        (
            Benchmark.LLAVABENCH, _tsv, {"category": "poem"},
            "its category is 'poem', where there are conv, detail, complex",
        ),
        (Benchmark.LLAVABENCH, _tsv, {"caption": ""}, "it has no caption"),
        (Benchmark.LLAVABENCH, _tsv, {"gpt4_ans": ""}, "it has no gpt4_ans"),
    ],
)  # fmt: skip
def test_an_odd_row_is_named_and_left_out(
    benchmark: Benchmark, write: Write, odd: dict[str, Any], what: str, tmp_path: Path
) -> None:
    data = open_data(benchmark, write(tmp_path, odd))
    assert len(data.items) == 1
    assert [problem.what for problem in data.problems] == [what]
    assert len(open_data(benchmark, write(tmp_path, {})).items) == 2


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(f"index\timage\tquestion\tanswer\tanswer\n1\t{cell()}\t?\tA\tB\n", encoding="utf-8")
    with pytest.raises(InputError, match="the header has 'answer' more than once"):
        open_data(Benchmark.SEEDBENCH, path)


def test_an_index_below_zero_is_no_rotation(tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "x.tsv", [{"index": "-5", "image": cell(), "question": "?", "A": "x", "answer": "A"}])
    with pytest.raises(InputError, match="line 2 has the index '-5'"):
        check(open_data(Benchmark.MMBENCH, path))
