"""MathVista's testmini.json, with query.json beside it, which has the prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows, option_letters, text_field, text_list
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import read_json
from omnilmm_lite.evaluation.item import QUERY, Item
from omnilmm_lite.evaluation.mathvista_fields import MathVistaFields

QUERIES = "query.json"
METADATA = ("task", "category", "source", "context", "grade", "language")


def read_mathvista(path: Path) -> DataSet:
    """Pictures are looked for beside the file, and beside its folder. InputError where it is another file."""
    problems = _object(path)
    queries = _object(path.parent / QUERIES) if (path.parent / QUERIES).is_file() else {}
    rows = Rows()
    for pid, problem in problems.items():
        rows.add(f"pid {pid}", partial(_item, path.parent, pid, problem, queries.get(pid)))
    return rows.data_set(Benchmark.MATHVISTA, path)


def _object(path: Path) -> Mapping[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; give MathVista's testmini.json")
    return found


def _item(folder: Path, pid: str, problem: Any, query: Any) -> Item:
    if not isinstance(problem, dict) or not isinstance(problem.get("metadata"), dict):
        raise RowError("it is no problem with metadata")
    answer, metadata = text_field(problem, "answer"), problem["metadata"]
    choices = text_list(problem, "choices") if problem.get("choices") else []
    options = option_letters(choices)
    letter = next((letter for letter, text in options.items() if text == answer), None)
    attributes = {
        "question_type": text_field(problem, "question_type"),
        "answer_type": text_field(problem, "answer_type"),
        "precision": problem.get("precision"),
        "unit": problem.get("unit"),
        "answer_option": letter,
        "skills": json.dumps(metadata.get("skills") or []),
        QUERY: query,
        **{name: metadata.get(name) for name in METADATA},
    }
    picture = text_field(problem, "image")
    beside = folder / picture
    item = Item(
        index=pid,
        question=text_field(problem, "question"),
        answer=answer,
        pictures=(FilePicture(beside if beside.is_file() else folder.parent / picture),),
        options=options,
        place=f"pid {pid}",
        attributes={name: str(value) for name, value in attributes.items() if value is not None},
    )
    try:
        MathVistaFields.parse(item)
    except ValueError as error:
        raise RowError(str(error)) from None
    return item
