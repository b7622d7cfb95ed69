"""Large JSON files: the entries of one array of the outermost object, one in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from omnilmm_lite.errors import InputError

CHUNK = 1 << 20  # characters
LARGEST_ENTRY = 1 << 26
BLANKS = " \t\r\n"


def read_array(path: Path, name: str) -> Iterator[Any]:
    """The entries of the array `name`; the object's other values are read and dropped.

    InputError where the file can't be read, is no such JSON, or has an entry beyond LARGEST_ENTRY.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Scanner(file).entries(name)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {name!r} can't be read ({error}); download the file again") from error


class _Scanner:
    """Values from the front of a text; ValueError where it isn't what was expected."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._place = 0
        self._decoder = json.JSONDecoder()

    def entries(self, name: str) -> Iterator[Any]:
        self._expect("{")
        while self._next() != "}":
            key = self._value()
            self._expect(":")
            if self._next() == "[":
                for entry in self._array():
                    if key == name:
                        yield entry
            else:
                self._value()
            if key == name:
                return
            self._skip_comma("}")
        raise ValueError("it isn't there")

    def _array(self) -> Iterator[Any]:
        self._expect("[")
        while self._next() != "]":
            yield self._value()
            self._skip_comma("]")
        self._expect("]")

    def _skip_comma(self, end: str) -> None:
        if self._next() != end:
            self._expect(",")

    def _expect(self, sign: str) -> None:
        found = self._next()
        if found != sign:
            raise ValueError(f"{found!r} where {sign!r} is needed")
        self._place += 1

    def _next(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in BLANKS:
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._read():
                return ""

    def _value(self) -> Any:
        """The value here. One that ends where the text ends may go on, as a number does: more is read first."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError:
                if len(self._text) - self._place > LARGEST_ENTRY or not self._read():
                    raise
                continue
            if end == len(self._text) and self._read():
                continue
            self._place = end
            return value

    def _read(self) -> bool:
        more = self._file.read(max(CHUNK, len(self._text) - self._place))  # twice as much each time
        self._text, self._place = self._text[self._place :] + more, 0
        return bool(more)
