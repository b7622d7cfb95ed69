"""Tab-separated files of any size: a row in memory at a time, and each row found again by its bytes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.data_set import Problem
from omnilmm_lite.evaluation.data.pictures import read_part

if TYPE_CHECKING:
    import _csv

MAX_CELL = 1 << 29  # characters; csv's own limit is 128 kB, less than a picture
# Cells of which each either begins with a quote and has one that ends it, or has quotes as characters like others.
CLOSED = re.compile(rb"""(?:(?:"(?:[^"]++|"")*+"(?!")[^\t\r\n]*+|[^"\t\r\n][^\t\r\n]*+|)(?:[\t\r\n]|\Z))*+""")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TsvRow:
    """`cells` by column; `start` and `length` are its bytes in the file."""

    line: int
    start: int
    length: int
    cells: Mapping[str, str]

    @property
    def place(self) -> str:
        return f"line {self.line}"


def read_rows(path: Path) -> Iterator[TsvRow | Problem]:
    """Every row below the header, in order; a Problem for one with more or fewer cells than the header.

    InputError where the file can't be read, is not UTF-8, has a cell beyond MAX_CELL, or ends within a quoted cell.
    """
    csv.field_size_limit(MAX_CELL)
    try:
        with path.open("rb") as file:
            yield from _rows(_Lines(file), path)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check the path") from error


def read_row(path: Path, start: int, length: int) -> list[str]:
    """The cells of the row at these bytes. InputError where they can't be read."""
    csv.field_size_limit(MAX_CELL)
    try:
        text = read_part(path, start, length).decode("utf-8")
        return next(_reader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        raise InputError(f"{path}: the row at byte {start} can't be read; has the file changed?") from None


class _Lines:
    """A file's lines as text, counting the bytes that were read."""

    def __init__(self, file: BinaryIO) -> None:
        self.offset = 0
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    @property
    def is_at_end(self) -> bool:
        return self.offset >= self._size

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            is_first = self.offset == 0
            self.offset += len(line)
            yield (line.removeprefix(BYTE_ORDER_MARK) if is_first else line).decode("utf-8")


def _rows(lines: _Lines, path: Path) -> Iterator[TsvRow | Problem]:
    reader = _reader(iter(lines))
    header: list[str] | None = None
    start, line = 0, 1
    while (cells := _next(reader, path, line)) is not None:
        length = lines.offset - start
        if lines.is_at_end:
            _check_end(path, start, length, line)
        if header is None:
            header = cells
            if doubled := [name for name, count in Counter(cells).items() if count > 1]:
                raise InputError(f"{path}: the header has {doubled[0]!r} more than once; download the file again")
        elif len(cells) != len(header):
            if cells:  # csv gives an empty line as no cells
                yield Problem(f"line {line}", f"{counted(len(cells), 'cell')}, where the header has {len(header)}")
        else:
            yield TsvRow(line, start, length, dict(zip(header, cells, strict=True)))
        start, line = lines.offset, reader.line_num + 1


def _next(reader: _csv.Reader, path: Path, line: int) -> list[str] | None:
    """None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        raise InputError(f"{path}: line {line} can't be read as a table ({error}); download the file again") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: line {line} is not UTF-8; download the file again") from None


def _check_end(path: Path, start: int, length: int, line: int) -> None:
    """A file that was cut off ends in a row that may look whole to csv."""
    row = read_part(path, start, length)
    if row.count(b'"') % 2 and not CLOSED.fullmatch(row):
        raise InputError(f"{path}: the row at line {line} has a quote that is never closed; download it again")


def _reader(lines: Iterable[str]) -> _csv.Reader:
    return csv.reader(lines, delimiter="\t")
