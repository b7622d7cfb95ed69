"""MMHal-Bench's response_template.json: 96 questions whose order says what they are about."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows, text_field, text_list
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import read_json
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown

CONTENT = "image_content"  # attribute: what is in the picture, a JSON list


def read_mmhal(path: Path) -> DataSet:
    """The pictures lie in images/ beside the file, under the names that their addresses end in.

    InputError where it is another file.
    """
    rows = Rows()
    for number, entry in enumerate(read_template(path)):
        rows.add(f"entry {number}", partial(_item, path.parent / "images", number, entry))
    return rows.data_set(Benchmark.MMHAL, path)


def read_template(path: Path) -> list[Any]:
    """The file's entries. InputError where it is no list."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path} holds no list; give MMHal-Bench's response_template.json")
    return entries


def _item(pictures: Path, number: int, entry: Any) -> Item:
    if not isinstance(entry, dict):
        raise RowError("it is no JSON object")
    source = text_field(entry, "image_src")
    try:
        name = PurePosixPath(urlsplit(source).path).name
    except ValueError:
        name = ""
    if not name:
        raise RowError(f"'image_src' is {shown(source)}, which names no picture")
    return Item(
        index=str(number),
        question=text_field(entry, "question"),
        answer=text_field(entry, "gt_answer"),
        pictures=(FilePicture(pictures / name),),
        category=text_field(entry, "question_type"),
        place=f"entry {number}",
        attributes={CONTENT: json.dumps(text_list(entry, CONTENT), ensure_ascii=False)},
    )
