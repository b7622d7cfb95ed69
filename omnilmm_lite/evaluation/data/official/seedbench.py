"""SEED-Bench.json, of which the questions about single pictures (dimensions 1 to 9) count here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows, text_field
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import read_json
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown

IMAGE = "image"
PICTURES = "SEED-Bench-image"  # the folder as it is published, beside the file
LETTERS = "ABCD"
DIMENSIONS = frozenset("123456789")


def read_seedbench(path: Path) -> DataSet:
    """InputError where it is another file."""
    found = read_json(path)
    questions = found.get("questions") if isinstance(found, dict) else None
    if not isinstance(questions, list):
        raise InputError(f'{path} has no list "questions"; give SEED-Bench.json')
    types = found.get("question_type")
    names = {str(number): str(name) for name, number in types.items()} if isinstance(types, dict) else {}
    rows = Rows()
    for number, question in enumerate(questions):
        rows.add(f"question {number}", partial(_item, path.parent, question, names, f"question {number}"))
    return rows.data_set(Benchmark.SEEDBENCH, path)


def _item(folder: Path, question: Any, names: Mapping[str, str], place: str) -> Item | None:
    if not isinstance(question, dict):
        raise RowError("it is no JSON object")
    if question.get("data_type") != IMAGE:
        return None
    dimension = text_field(question, "question_type_id")
    if dimension not in DIMENSIONS:
        raise RowError(f"its question_type_id is {shown(dimension)}, where single pictures have 1 to 9")
    return Item(
        index=text_field(question, "question_id"),
        question=text_field(question, "question"),
        answer=text_field(question, "answer"),
        pictures=(FilePicture(folder / PICTURES / text_field(question, "data_id")),),
        options={letter: text_field(question, f"choice_{letter.lower()}") for letter in LETTERS},
        category=names.get(dimension, dimension),
        place=place,
    )
