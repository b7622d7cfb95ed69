"""Object HalBench: a line of JSON a question, with the picture in it and COCO's number of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows, text_field
from omnilmm_lite.evaluation.data.pictures import JsonLinePicture
from omnilmm_lite.evaluation.data.text_file import JsonLine, json_lines
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown

IMAGE_ID = "image_id"  # attribute: COCO's number
LONGEST_ID = 12  # digits, as in its files' names


def read_objhal(path: Path) -> DataSet:
    """InputError where it is another file."""
    rows = Rows()
    for number, line in enumerate(json_lines(path)):
        rows.add(line.place, partial(_item, path, number, line))
    return rows.data_set(Benchmark.OBJHAL, path)


def _item(path: Path, number: int, line: JsonLine) -> Item:
    if line.value is None:
        raise RowError("it is no JSON object")
    if not text_field(line.value, "image"):
        raise RowError("it has no picture")
    image_id = text_field(line.value, IMAGE_ID)
    if not image_id.isdecimal() or len(image_id) > LONGEST_ID:
        raise RowError(f"image_id {shown(image_id)} is no number of COCO's")
    return Item(
        index=str(number),
        question=text_field(line.value, "question"),
        pictures=(JsonLinePicture(path, line.start, line.length, "image"),),
        place=line.place,
        attributes={IMAGE_ID: str(int(image_id))},
    )
