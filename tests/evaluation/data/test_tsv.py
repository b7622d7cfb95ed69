"""TSV files: rows of any form, pictures where they lie, and what is wrong with a row said by its line."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.data.data_set import DataSet, Problem
from omnilmm_lite.evaluation.data.opening import open_data
from omnilmm_lite.evaluation.data.tsv import read_row, read_rows
from omnilmm_lite.evaluation.mathvista_fields import MathVistaFields
from omnilmm_lite.evaluation.prompts import build_prompt
from tests.evaluation.golden import cell, picture, write_tsv

RED, BLUE = picture((255, 0, 0)), picture((0, 0, 255))
ROW = {"index": "1", "image": cell(RED), "question": "What?", "A": "x", "B": "y", "answer": "A"}


def _read(path: Path, rows: list[dict[str, str]], benchmark: Benchmark = Benchmark.MMBENCH) -> DataSet:
    return open_data(benchmark, write_tsv(path, rows))


def test_a_row_becomes_an_item(tmp_path: Path) -> None:
    row = ROW | {"hint": "a\nb", "B": "None", "C": "", "category": "c", "l2-category": "d", "split": "dev", "more": "z"}
    (item,) = _read(tmp_path / "x.tsv", [row]).items
    assert (item.index, item.question, item.answer, item.hint) == ("1", "What?", "A", "a\nb")
    assert (item.options, item.options_of_kit) == ({"A": "x", "B": "None"}, {"A": "x"})
    assert (item.category, item.l2_category, item.split, item.place) == ("c", "d", "dev", "line 2")
    assert item.attributes == {"more": "z"}
    assert [each.read() for each in item.pictures] == [RED]


def test_a_short_image_cell_is_another_rows_index(tmp_path: Path) -> None:
    rows = [ROW | {"index": "5", "image": "1"}, ROW, ROW | {"index": "6", "image": cell(BLUE)}]
    items = _read(tmp_path / "x.tsv", rows).items
    assert [each.pictures[0].read() for each in items] == [RED, RED, BLUE]
    assert items[0].pictures[0].key == items[1].pictures[0].key != items[2].pictures[0].key


def test_a_list_of_pictures(tmp_path: Path) -> None:
    row = ROW | {"image": str([cell(RED), cell(BLUE)])}
    (item,) = _read(tmp_path / "x.tsv", [row], Benchmark.MMMU).items
    assert [each.read() for each in item.pictures] == [RED, BLUE]


@pytest.mark.parametrize("image", ["[1,2]", "[]", "['1']"])
def test_a_list_without_a_picture_is_called_that(image: str, tmp_path: Path) -> None:
    rows = [{"index": "1", "image": cell(), "question": "?"}, {"index": "2", "image": image, "question": "?"}]
    data = _read(tmp_path / "x.tsv", rows, Benchmark.MMMU)
    assert [item.index for item in data.items] == ["1"]
    assert [str(each) for each in data.problems] == [
        f"line 3: its image cell is the list {image}, in which there is no picture"
    ]


def test_mathvistas_columns(tmp_path: Path) -> None:
    row = ROW | {
        "question": "Hint: so\nQuestion: 1?", "answer": "x", "answer_option": "B", "choices": "['y', 'x']",
        "question_type": "multi_choice", "answer_type": "text", "task": "geometry", "skills": "arithmetic reasoning",
    }  # fmt: skip
    number = row | {"index": "2", "choices": "", "answer_option": "", "skills": "['a', 'b']"}
    first, second = _read(tmp_path / "x.tsv", [row, number], Benchmark.MATHVISTA).items
    assert (first.options, second.options) == ({"A": "y", "B": "x"}, {})
    assert [MathVistaFields.of(item).skills for item in (first, second)] == [("arithmetic reasoning",), ("a", "b")]
    assert build_prompt(Benchmark.MATHVISTA, first, Profile.VEK2402) == "Hint: so\nQuestion: 1?"


def test_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"index": "2", "image": ""}, ROW | {"index": "3", "image": "9"}, ROW | {"index": ""}]
    path = write_tsv(tmp_path / "x.tsv", rows)
    path.write_bytes(path.read_bytes() + b"7\ttoo short\n\n")
    data = open_data(Benchmark.MMBENCH, path)
    assert [item.index for item in data.items] == ["1"]
    assert {problem.place: problem.what for problem in data.problems} == {
        "line 3": "it has no picture; such rows are left out, as with the kit",
        "line 4": "its picture is that of row '9', which has none of its own",
        "line 5": "it has no index",
        "line 6": "2 cells, where the header has 6",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is no row of mmbench in it"),
        (b"index\tquestion\n1\tx\n", "the header has no column image"),
        (b"index\timage\tquestion\n1\tx\t\xff\n", "line 2 is not UTF-8"),
        (b'index\timage\tquestion\n1\tx\t"cut of', "the row at line 2 has a quote that is never closed"),
        (b'index\timage\tquestion\n1\t"x\ty\n2\tx\ty\n', "the row at line 2 has a quote that is never closed"),
        (b"a\tb\n1\t2\n", "the header has no column index, question, image"),
    ],
)
def test_files_that_are_none_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_data(Benchmark.MMBENCH, path)


def test_a_picture_that_is_no_base64_is_refused_when_it_is_read(tmp_path: Path) -> None:
    (item,) = _read(tmp_path / "x.tsv", [ROW | {"image": "%" * 100}]).items
    with pytest.raises(InputError, match="the picture is no base64"):
        item.pictures[0].read()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(rows=st.lists(st.tuples(*[st.text(st.characters(exclude_characters="\0\r", codec="utf-8"))] * 3), min_size=1))
def test_cells_come_back_and_rows_are_found_again(rows: list[tuple[str, str, str]], tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "x.tsv", [dict(zip(("a", "b", "c"), row, strict=True)) for row in rows])
    found = list(read_rows(path))
    assert [tuple(each.cells.values()) for each in found if not isinstance(each, Problem)] == rows
    for each in found:
        assert not isinstance(each, Problem)
        assert tuple(read_row(path, each.start, each.length)) == tuple(each.cells.values())


def test_pictures_do_not_pass_through_memory_together(tmp_path: Path) -> None:
    """30 rows of half a megabyte: reading them takes the memory of a few."""
    large = "A" * (512 << 10)
    path = write_tsv(tmp_path / "x.tsv", ({**ROW, "index": str(n), "image": large} for n in range(30)))
    tracemalloc.start()
    try:
        data = open_data(Benchmark.MMBENCH, path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data.items) == 30
    assert peak < 6 << 20
