"""MME's folder: a folder a task, with pictures and a .txt of two "question, tab, answer" lines for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.data.text_file import read_text
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.picture.reading import PICTURE_SUFFIXES

PICTURES, TEXTS = "images", "questions_answers_YN"  # within a task's folder; in others all lies beside each other


def read_mme(root: Path) -> DataSet:
    """InputError where no folder below `root` has questions."""
    rows = Rows()
    for folder in sorted(each for each in root.iterdir() if each.is_dir()):
        for text in _texts(folder):
            lines = [line for line in read_text(text).splitlines() if line.strip()]
            for number, line in enumerate(lines, start=1):
                place = f"{text.relative_to(root)}, line {number}"
                rows.add(place, partial(_item, folder, text, number, line, place))
    if not rows.items and not rows.problems:
        raise InputError(
            f"{root}: there is no folder with MME's .txt files in it; give the folder that holds the tasks"
        )
    return rows.data_set(Benchmark.MME, root)


def _texts(folder: Path) -> Iterator[Path]:
    texts = folder / TEXTS
    yield from sorted((texts if texts.is_dir() else folder).glob("*.txt"))


def _item(folder: Path, text: Path, number: int, line: str, place: str) -> Item:
    question, tab, answer = line.rpartition("\t")
    if not tab:
        raise RowError("no tab between question and answer")
    pictures = folder / PICTURES
    beside = pictures if pictures.is_dir() else folder
    found = [path for suffix in PICTURE_SUFFIXES if (path := beside / f"{text.stem}{suffix}").is_file()]
    if not found:
        raise RowError(f"there is no picture of the name {text.stem} in {beside.name}")
    return Item(
        index=f"{folder.name}/{text.stem}/{number}",
        question=question,
        answer=answer.strip(),
        pictures=(FilePicture(found[0]),),
        category=folder.name,
        group=text.stem,
        place=place,
    )
