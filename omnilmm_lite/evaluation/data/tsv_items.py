"""VLMEvalKit's TSV files as questions: one layout for all benchmarks, with pictures as base64 in a column."""

from __future__ import annotations

import ast
import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, Problem, RowError, Rows, option_letters
from omnilmm_lite.evaluation.data.official.llavabench import check_llavabench
from omnilmm_lite.evaluation.data.pictures import FilePicture, decode_base64
from omnilmm_lite.evaluation.data.tsv import TsvRow, read_row, read_rows
from omnilmm_lite.evaluation.item import NOT_A_LIST, QUERY, READ_AS_ABSENT, Item, Picture
from omnilmm_lite.evaluation.mathvista_fields import MathVistaFields

LONGEST_REFERENCE = 64  # characters; a shorter image cell is the index of the row that has the picture
COMMON = frozenset({"index", "image", "question", "hint", "answer", "category", "l2-category", "split"})
SKILLS = "skills"
LISTS = ("choices", SKILLS)  # columns with Python lists, kept as JSON


@dataclass(frozen=True)
class TsvPicture:
    """Base64 in a row's image cell, one of several where the cell is a list."""

    path: Path
    start: int  # of the row, in bytes
    length: int
    column: int
    number: int | None = None  # within a list

    @property
    def key(self) -> str:
        return f"{self.path}:{self.start}:{self.number or 0}"

    def read(self) -> bytes:
        cell = read_row(self.path, self.start, self.length)[self.column]
        if self.number is not None:
            try:
                cell = _list(cell)[self.number]
            except (RowError, IndexError):
                raise InputError(f"{self.path}: the row at byte {self.start} has no picture; has it changed?") from None
        return decode_base64(cell, f"{self.path}, row at byte {self.start}")


def read_tsv(path: Path, benchmark: Benchmark) -> DataSet:
    """InputError where the file isn't one of these; rows that can't be used are among the problems.

    Rows without a picture are left out, as the kit does.
    """
    rows = Rows()
    pictures: dict[str, tuple[Picture, ...]] = {}
    references: dict[str, str] = {}  # index -> index of the row with the picture
    for row in read_rows(path):
        if isinstance(row, Problem):
            rows.problems.append(row)
            continue
        _check_columns(row.cells, path, benchmark)
        cell, index = row.cells.get("image"), row.cells["index"]
        if index in pictures or index in references:
            pass  # of two rows with one index the first has its own picture
        elif cell is not None and 0 < len(cell) <= LONGEST_REFERENCE:
            references[index] = cell
        else:
            pictures[index] = tuple(_pictures(row, path))
        rows.add(row.place, partial(_item, row, benchmark))
    items = rows.items
    rows.items = []
    for item in items:
        rows.add(item.place, partial(_with_pictures, item, pictures, references, benchmark))
    return rows.data_set(benchmark, path)


def _check_columns(cells: Mapping[str, str], path: Path, benchmark: Benchmark) -> None:
    missing = [name for name in ("index", "question") if name not in cells]
    if "image" not in cells and "image_path" not in cells:
        missing.append("image")
    if missing:
        raise InputError(
            f"{path}: the header has no column {', '.join(missing)}; give {benchmark}'s TSV file as VLMEvalKit has it"
        )


def _item(row: TsvRow, benchmark: Benchmark) -> Item:
    cells = row.cells
    options = {letter: cells[letter] for letter in string.ascii_uppercase if cells.get(letter, "") != ""}
    attributes = {
        name: json.dumps(_list(text, one=name == SKILLS), ensure_ascii=False) if name in LISTS else text
        for name, text in cells.items()
        if name not in COMMON and name not in options and text != "" and name not in string.ascii_uppercase
    }
    if benchmark is Benchmark.MATHVISTA:
        choices = json.loads(attributes.get("choices", "[]"))
        options = option_letters(choices)
        attributes[QUERY] = cells["question"]  # which has hint and choices in it
    item = Item(
        index=cells["index"],
        question=cells["question"],
        answer=cells.get("answer") or None,
        options=options,
        hint=cells.get("hint") or None,
        category=cells.get("category") or None,
        l2_category=cells.get("l2-category") or None,
        split=cells.get("split") or None,
        group=cells.get("image_path") or None,
        place=row.place,
        attributes=attributes,
    )
    _check_fields(item, benchmark)
    return item


def _check_fields(item: Item, benchmark: Benchmark) -> None:
    """RowError where the row lacks what only this benchmark's rows have."""
    if benchmark is Benchmark.MATHVISTA:
        try:
            MathVistaFields.parse(item)
        except ValueError as error:
            raise RowError(str(error)) from None
    if benchmark is Benchmark.LLAVABENCH:
        check_llavabench(item)


def _pictures(row: TsvRow, path: Path) -> Iterable[Picture]:
    """Of the row's own cell; none where it is absent."""
    cell = row.cells.get("image")
    if cell is None:
        names = row.cells["image_path"]
        for name in _list(names) if _is_list(names) else [names] if names else []:
            yield FilePicture(path.parent / name)
    elif cell not in READ_AS_ABSENT:
        column = list(row.cells).index("image")
        # base64 has no commas
        numbers: Iterable[int | None] = range(cell.count(",") + (len(cell) > 2)) if _is_list(cell) else [None]
        for number in numbers:
            yield TsvPicture(path, row.start, row.length, column, number)


def _with_pictures(
    item: Item, pictures: Mapping[str, tuple[Picture, ...]], references: Mapping[str, str], benchmark: Benchmark
) -> Item:
    source = references.get(item.index, item.index)
    found = pictures.get(source)
    if found is None and _is_list(source):
        raise RowError(f"its image cell is the list {source}, in which there is no picture")
    if found is None:
        raise RowError(f"its picture is that of row {source!r}, which has none of its own")
    if not found:
        raise RowError("it has no picture; such rows are left out, as with the kit")
    if benchmark is Benchmark.MMMU and isinstance(found[0], TsvPicture) and found[0].number is None:
        item = replace(item, attributes={**item.attributes, NOT_A_LIST: "yes"})
    group = item.group or found[0].key if benchmark is Benchmark.MME else None
    return replace(item, pictures=found, group=group)


def _is_list(cell: str) -> bool:
    return cell.startswith("[") and cell.endswith("]")


def _list(cell: str, *, one: bool = False) -> list[str]:
    """The texts of a Python list. Where it is none: the text itself as the `one` entry, or RowError."""
    if cell in READ_AS_ABSENT:
        return []
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if one:
            return [cell]
        raise RowError(f"{cell[:40]!r} is no list") from None
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
