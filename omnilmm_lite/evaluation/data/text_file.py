"""Text, JSON and JSON lines from somebody's files, with errors that name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError

MAX_TEXT_BYTES = 1 << 30  # the largest that is read whole, SEED-Bench.json, has a few MB


def read_text(path: Path) -> str:
    """UTF-8, with or without a byte order mark. InputError where it can't be read."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(f"{path} is no file; check the folder")
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(f"{path} is larger than {MAX_TEXT_BYTES >> 30} GB; give the benchmark's own file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); download it again") from error


def read_json(path: Path) -> Any:
    """InputError where it is no JSON."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); download it again") from error


@dataclass(frozen=True)
class JsonLine:
    """One line of a file and where its bytes lie; `value` is None where the line is no JSON object."""

    number: int
    start: int
    length: int
    value: dict[str, Any] | None

    @property
    def place(self) -> str:
        return f"line {self.number}"


def json_lines(path: Path) -> Iterator[JsonLine]:
    """The lines that aren't blank, one in memory at a time. InputError where the file can't be read."""
    start = 0
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no file; check the folder")
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield JsonLine(number, start, len(line), parse_object(line))
                start += len(line)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check the path") from error


def parse_object(line: bytes) -> dict[str, Any] | None:
    """None where it is no JSON object."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
