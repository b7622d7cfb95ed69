"""MMMU's parquet files, a folder a subject, read by pyarrow."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet, RowError, Rows, option_letters, text_field
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown
from omnilmm_lite.machine.extras import Extra, missing_package

TEXTS = ("id", "question", "options", "answer", "question_type")
IMAGES = tuple(f"image_{number}" for number in range(1, 8))
TEST = "test"  # a split without answers
ROWS_AT_ONCE = 16  # with their pictures in memory
MULTIPLE_CHOICE, OPEN = "multiple-choice", "open"


@dataclass(frozen=True)
class ParquetPicture:
    """A picture in one row of a parquet file."""

    path: Path
    row: int
    column: str

    @property
    def key(self) -> str:
        return f"{self.path}:{self.row}:{self.column}"

    def read(self) -> bytes:
        for start, rows in _batches(self.path, [self.column], self.row):
            if self.row < start + len(rows):
                return bytes(rows[self.row - start][self.column]["bytes"])
        raise InputError(f"{self.path}: row {self.row} is gone; has the file changed?")


def read_mmmu(root: Path) -> DataSet:
    """A parquet file or every one below a folder, but those of the test split.

    InputError where there is none, or where pyarrow is missing.
    """
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    files = [each for each in files if not each.name.startswith(TEST)]
    if not files:
        raise InputError(f"{root}: there is no parquet file of MMMU's dev or validation split in it")
    rows = Rows()
    for path in files:
        for start, batch in _batches(path, [*TEXTS, *IMAGES]):
            for number, row in enumerate(batch, start=start):
                place = f"{path.name}, row {number}"
                rows.add(place, partial(_item, path, number, row, place))
    return rows.data_set(Benchmark.MMMU, root)


def _batches(path: Path, columns: Sequence[str], first: int = 0) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Some rows at a time with the number of the first of them, from the row group that has row `first`."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise missing_package("reading MMMU's parquet files, unlike MMMU_DEV_VAL.tsv,", error, Extra.PARQUET) from None
    try:
        with parquet.ParquetFile(path) as file:
            start = 0
            for group in range(file.num_row_groups):
                length = file.metadata.row_group(group).num_rows
                if first < start + length:
                    for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=list(columns)):
                        yield start, batch.to_pylist()
                        start += len(batch)
                else:
                    start += length
    except (OSError, pyarrow.ArrowException):
        raise InputError(f"{path} can't be read as parquet; download it again") from None


def _item(path: Path, number: int, row: dict[str, Any], place: str) -> Item:
    index = text_field(row, "id")
    split, _, rest = index.partition("_")
    if not rest:
        raise RowError(f"the id {index!r} doesn't begin with a split")
    kind = text_field(row, "question_type")
    if kind not in (MULTIPLE_CHOICE, OPEN):
        raise RowError(f"its question_type is {shown(kind)}, where MMMU has {MULTIPLE_CHOICE} and {OPEN}")
    is_choice = kind == MULTIPLE_CHOICE
    try:
        texts = ast.literal_eval(text_field(row, "options")) if is_choice else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise RowError("its options are no list") from None
    if not isinstance(texts, list) or (is_choice and not texts):
        raise RowError("its options are no list of any")
    images = [name for name in IMAGES if _has_picture(row, name)]
    return Item(
        index=index,
        question=text_field(row, "question"),
        answer=text_field(row, "answer"),
        pictures=tuple(ParquetPicture(path, number, name) for name in images),
        options=option_letters([str(text) for text in texts]),
        category=rest.rpartition("_")[0],
        split=split,
        place=place,
    )


def _has_picture(row: dict[str, Any], name: str) -> bool:
    """RowError where the cell is neither empty nor a picture with its bytes."""
    match row.get(name):
        case None | {"bytes": None}:
            return False
        case {"bytes": bytes(data)}:
            return bool(data)
        case other:
            raise RowError(f"{name} is {shown(other)}, where a picture's bytes and path are needed")
