"""The authors' own layouts, as their documentation and scripts describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import easy_vqa
import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark
from omnilmm_lite.evaluation.checks import check, check_pictures
from omnilmm_lite.evaluation.data.opening import open_data
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import json_lines, read_text
from omnilmm_lite.evaluation.mathvista_fields import AnswerType, MathVistaFields
from tests.evaluation.golden import cell, picture
from tests.systems import make_pipe

PNG = picture()


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_mme_folders_of_both_kinds(tmp_path: Path) -> None:
    lines = "Is it red? Please answer yes or no.\tYes\nIs it\tblue?\tNo\n"
    _write(tmp_path / "count" / "1.txt", lines)
    _write(tmp_path / "count" / "1.jpg", PNG)
    _write(tmp_path / "artwork" / "questions_answers_YN" / "9.txt", lines)
    _write(tmp_path / "artwork" / "images" / "9.png", PNG)
    _write(tmp_path / "scene" / "2.txt", lines)
    data = open_data(Benchmark.MME, tmp_path)
    assert [(item.category, item.group, item.answer) for item in data.items] == [
        ("artwork", "9", "Yes"), ("artwork", "9", "No"), ("count", "1", "Yes"), ("count", "1", "No"),
    ]  # fmt: skip
    assert data.items[1].question == "Is it\tblue?"
    assert [item.pictures[0].read() for item in data.items] == [PNG] * 4
    assert [problem.what for problem in data.problems] == ["there is no picture of the name 2 in scene"] * 2


def test_easyvqa_is_the_packages_folder() -> None:
    data = open_data(Benchmark.EASYVQA, Path(easy_vqa.__file__).parent / "data" / "test")
    assert check(data) == []
    questions, answers, pictures = easy_vqa.get_test_questions()
    assert [item.question for item in data.items] == questions
    assert [item.answer for item in data.items] == answers
    assert [item.group for item in data.items] == list(map(str, pictures))
    paths = easy_vqa.get_test_image_paths()
    assert data.items[-1].pictures[0].read() == Path(paths[pictures[-1]]).read_bytes()


def test_seedbench_takes_single_pictures_alone(tmp_path: Path) -> None:
    question = {
        "answer": "B", "choice_a": "1", "choice_b": "2", "choice_c": "3", "choice_d": "4", "data_id": "9_1",
        "data_type": "image", "question": "How many?", "question_id": "101", "question_type_id": 5,
    }  # fmt: skip
    content = {
        "question_type": {"Instance Counting": 5},
        "questions": [question, question | {"data_type": "video", "question_id": "102"}, {"data_type": "image"}],
    }
    path = _write(tmp_path / "SEED-Bench.json", json.dumps(content))
    _write(tmp_path / "SEED-Bench-image" / "9_1", PNG)
    data = open_data(Benchmark.SEEDBENCH, path)
    (item,) = data.items
    assert (item.index, item.answer, item.category) == ("101", "B", "Instance Counting")
    assert item.options == {"A": "1", "B": "2", "C": "3", "D": "4"}
    assert item.pictures[0].read() == PNG
    assert [problem.place for problem in data.problems] == ["question 2"]


def test_mmhal_keeps_its_order(tmp_path: Path) -> None:
    entries = [
        {
            "question_type": kind, "question_topic": "x", "image_id": "1", "question": f"{number}?", "gt_answer": "g",
            "image_src": f"https://example.org/a/{number}_o.jpg?x=1", "image_content": ["Dog"], "model_answer": "",
        }
        for number, kind in enumerate(["attribute", "adversarial", "counting"])
    ]  # fmt: skip
    path = _write(tmp_path / "response_template.json", json.dumps(entries))
    _write(tmp_path / "images" / "1_o.jpg", PNG)
    data = open_data(Benchmark.MMHAL, path)
    assert [item.question for item in data.items] == ["0?", "1?", "2?"]
    assert data.items[1].pictures[0].read() == PNG
    assert [str(problem) for problem in check(data)] == [
        "all: 3 rows, where the published file has 96",
        "entry 2: its question is of the type 'counting', where comparison stands in the template; the order may not "
        "change",
    ]


def test_objhal_has_its_pictures_in_its_lines(tmp_path: Path) -> None:
    rows = [
        {"question": "What?", "image": cell(PNG), "image_id": "000123"},
        {"question": "?", "image": "", "image_id": "x"},
    ]
    data = open_data(Benchmark.OBJHAL, _write(tmp_path / "o.jsonl", "\n" + _lines(rows) + "no json\n"))
    (item,) = data.items
    assert item.attributes == {"image_id": "123"}
    assert item.pictures[0].read() == PNG
    assert [problem.place for problem in data.problems] == ["line 3", "line 4"]


def test_llavabench_joins_its_files(tmp_path: Path) -> None:
    questions = [{"question_id": n, "image": f"00{n}.jpg", "text": f"{n}?", "category": "conv"} for n in range(2)]
    _write(tmp_path / "questions.jsonl", _lines(questions))
    _write(tmp_path / "context.jsonl", _lines([{"id": "000", "image": "000.jpg", "caption": "a street"}]))
    _write(tmp_path / "answers_gpt4.jsonl", _lines([{"question_id": 0, "text": "GPT-4 says"}]))
    _write(tmp_path / "images" / "000.jpg", PNG)
    data = open_data(Benchmark.LLAVABENCH, tmp_path)
    (item,) = data.items
    assert item.attributes == {"caption": "a street", "gpt4_ans": "GPT-4 says"}
    assert item.pictures[0].read() == PNG
    assert [str(problem) for problem in data.problems] == ["line 2: context.jsonl has nothing about 001.jpg"]


def test_mathvista_with_and_without_its_queries(tmp_path: Path) -> None:
    metadata = {"task": "geometry", "skills": ["arithmetic reasoning"], "split": "testmini"}
    choice = {
        "question": "Which?", "image": "images/1.jpg", "choices": ["x", "y"], "unit": None, "precision": None,
        "answer": "y", "question_type": "multi_choice", "answer_type": "text", "pid": "1", "metadata": metadata,
    }  # fmt: skip
    number = choice | {
        "choices": None,
        "precision": 2,
        "answer": "1.25",
        "question_type": "free_form",
        "answer_type": "float",
    }
    path = _write(tmp_path / "data" / "testmini.json", json.dumps({"1": choice, "2": number, "3": {}}))
    _write(tmp_path / "images" / "1.jpg", PNG)
    data = open_data(Benchmark.MATHVISTA, path)
    first, second = (MathVistaFields.of(item) for item in data.items)
    assert (first.is_choice, first.answer_option, first.skills) == (True, "B", ("arithmetic reasoning",))
    assert (second.answer_type, second.precision, second.answer_option) == (AnswerType.FLOAT, 2, None)
    assert data.items[0].pictures[0].read() == PNG
    assert [problem.place for problem in data.problems] == ["pid 3"]
    _write(tmp_path / "data" / "query.json", json.dumps({"1": "Hint: so"}))
    assert open_data(Benchmark.MATHVISTA, path).items[0].attributes["query"] == "Hint: so"


def test_mmmus_parquet_files(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {
            "id": f"validation_Art_Theory_{n}", "question": f"<image 1> {n}?",
            "options": "['x', \"y's\"]" if n else "[]",
            "explanation": "", "answer": "B" if n else "12", "question_type": "multiple-choice" if n else "open",
            "img_type": "['Paintings']", "topic_difficulty": "Medium", "subfield": "Art Theory",
            **{f"image_{k}": {"bytes": PNG, "path": "x.png"} if k <= n else None for k in range(1, 8)},
        }
        for n in range(3)
    ]  # fmt: skip
    (tmp_path / "Art_Theory").mkdir()
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([(name, image if name.startswith("image_") else pyarrow.string()) for name in rows[0]])
    for name in ("validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"):
        table = pyarrow.Table.from_pylist(rows, schema)
        parquet.write_table(table, tmp_path / "Art_Theory" / name, row_group_size=2)
    items = open_data(Benchmark.MMMU, tmp_path).items
    assert [item.index for item in items] == [f"validation_Art_Theory_{n}" for n in range(3)]
    assert {(item.category, item.split) for item in items} == {("Art_Theory", "validation")}
    assert [dict(item.options) for item in items] == [{}, {"A": "x", "B": "y's"}, {"A": "x", "B": "y's"}]
    assert [[each.read() for each in item.pictures] for item in items] == [[], [PNG], [PNG, PNG]]


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    rows = [{"question": "?", "image": text, "image_id": 1} for text in (cell(PNG), cell(b"no picture" * 9), "%")]
    data = open_data(Benchmark.OBJHAL, _write(tmp_path / "o.jsonl", _lines(rows)))
    assert [problem.place for problem in check_pictures(data.items)] == ["line 2", "line 3"]


@pytest.mark.parametrize("benchmark", list(Benchmark))
@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "[1]", '{"1": 2}', '{"questions": [[]]}'])
def test_other_files_are_refused_in_a_line(benchmark: Benchmark, content: str, tmp_path: Path) -> None:
    for name in ("x.json", "x.jsonl", "x.tsv", "x.txt", "x.parquet", "questions.json", "questions.jsonl"):
        _write(tmp_path / name, content)
    assert REQUIREMENTS[benchmark].data
    for path in (tmp_path, *sorted(tmp_path.iterdir()), tmp_path / "missing"):
        with pytest.raises(InputError, match=r"; (give|check|download|there)|: run .*pip |there is no|doesn't exist"):
            open_data(benchmark, path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipes = [tmp_path / name for name in ("x.tsv", "x.json", "x.jsonl", "x.png")]
    for pipe in pipes:
        make_pipe(pipe)
    for pipe, benchmark in zip(pipes, (Benchmark.MME, Benchmark.MMHAL, Benchmark.OBJHAL), strict=False):
        with pytest.raises(InputError, match="neither a file nor a folder"):
            open_data(benchmark, pipe)
    with pytest.raises(InputError, match="is no file"):
        read_text(pipes[1])
    with pytest.raises(InputError, match="is no file"):
        list(json_lines(pipes[2]))
    with pytest.raises(InputError, match="the picture is no file"):
        FilePicture(pipes[3]).read()


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 3000 + ".png"])
def test_a_picture_whose_name_cannot_be_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="picture"):
        FilePicture(tmp_path / name).read()
