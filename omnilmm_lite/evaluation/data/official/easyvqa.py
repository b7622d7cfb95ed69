"""easy-VQA's folder: questions.json, a list of [question, answer, picture's number], and images/."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import read_json
from omnilmm_lite.evaluation.item import Item

QUESTIONS = "questions.json"


def read_easyvqa(root: Path) -> DataSet:
    """InputError where it is another folder. The package's own `data/test` is meant, or a copy of it."""
    entries = read_json(root / QUESTIONS)
    if not isinstance(entries, list):
        raise InputError(f"{root / QUESTIONS} holds no list; give easy-VQA's folder data/test")
    rows = Rows()
    for number, entry in enumerate(entries):
        rows.add(f"entry {number}", partial(_item, root, number, entry))
    return rows.data_set(Benchmark.EASYVQA, root)


def _item(root: Path, number: int, entry: Any) -> Item:
    match entry:
        case [str(question), str(answer), int(picture)] if not isinstance(picture, bool):
            return Item(
                index=str(number),
                question=question,
                answer=answer,
                pictures=(FilePicture(root / "images" / f"{picture}.png"),),
                group=str(picture),
                place=f"entry {number}",
            )
    raise RowError("it isn't a question, an answer and a picture's number")
