"""LLaVA-Bench's folder: questions.jsonl, context.jsonl, answers_gpt4.jsonl and images/."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows, text_field
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import JsonLine, json_lines
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown

QUESTIONS, CONTEXT, REFERENCE = "questions.jsonl", "context.jsonl", "answers_gpt4.jsonl"
# Attributes, by the names of the TSV's columns: what is in the picture, in words, and GPT-4's answer.
CAPTION, REFERENCE_ANSWER = "caption", "gpt4_ans"
CATEGORIES = ("conv", "detail", "complex")


def read_llavabench(root: Path) -> DataSet:
    """InputError where one of the files can't be read."""
    captions = _texts(root / CONTEXT, "image", "caption")
    answers = _texts(root / REFERENCE, "question_id", "text")
    rows = Rows()
    for line in json_lines(root / QUESTIONS):
        rows.add(line.place, partial(_item, root, line, captions, answers))
    return rows.data_set(Benchmark.LLAVABENCH, root)


def _texts(path: Path, key: str, value: str) -> dict[str, str]:
    """Lines that lack either are passed over: the question that needs one says so."""
    rows = [line.value for line in json_lines(path) if line.value is not None]
    return {str(row[key]): str(row[value]) for row in rows if key in row and value in row}


def _item(root: Path, line: JsonLine, captions: Mapping[str, str], answers: Mapping[str, str]) -> Item:
    if line.value is None:
        raise RowError("it is no JSON object")
    index, image = text_field(line.value, "question_id"), text_field(line.value, "image")
    if image not in captions:
        raise RowError(f"{CONTEXT} has nothing about {image}")
    if index not in answers:
        raise RowError(f"{REFERENCE} has no answer to question {index}")
    item = Item(
        index=index,
        question=text_field(line.value, "text"),
        pictures=(FilePicture(root / "images" / image),),
        category=text_field(line.value, "category"),
        place=line.place,
        attributes={CAPTION: captions[image], REFERENCE_ANSWER: answers[index]},
    )
    check_llavabench(item)
    return item


def check_llavabench(item: Item) -> None:
    """RowError where a judge couldn't be asked about it."""
    if item.category not in CATEGORIES:
        raise RowError(f"its category is {shown(item.category)}, where there are {', '.join(CATEGORIES)}")
    for name in (CAPTION, REFERENCE_ANSWER):
        if name not in item.attributes:
            raise RowError(f"it has no {name}")
