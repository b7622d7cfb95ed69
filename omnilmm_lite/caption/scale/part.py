"""What one run has written: a file of lines, a table, or a folder of either."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.caption.scale.census import Census
from omnilmm_lite.caption.scale.shard import Shard
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_log import settings_path
from omnilmm_lite.machine.extras import Extra, missing_package

SETTINGS = "settings.json"  # of a folder
JSONL, PARQUET = ".jsonl", ".parquet"
TIMINGS = ("vision_s", "prefill_s", "decode_s", "prompt_tokens", "new_tokens")
ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Part:
    """`settings`: what it was begun with, without its shard."""

    path: Path
    files: tuple[Path, ...]
    settings: Mapping[str, Any]
    shard: Shard | None

    @classmethod
    def open(cls, path: Path) -> Part:
        """InputError where there is nothing of `caption`'s."""
        if not path.exists():
            raise InputError(f"{path}: there is no such output; name what `caption` has written")
        if path.is_dir():
            files = tuple(sorted(each for each in path.iterdir() if _is_part(each)))
            beside = path / SETTINGS
        else:
            # of a table the lines that it is made of: they are whole at any time
            lines = path.with_name(path.name + JSONL) if path.suffix in (PARQUET, ".csv") else path
            files = (lines if lines.is_file() else path,)
            beside = settings_path(lines)
        try:
            settings = dict(json.loads(beside.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            raise InputError(
                f"{path}: {beside.name}, which says how it was made, can't be read; name an output of `caption`"
            ) from None
        shard = settings.pop("shard", None)
        return cls(path, files, settings, None if shard is None else Shard.read(str(shard)))

    @property
    def census(self) -> Census | None:
        return None if self.shard is None else Census.find(self.path, self.shard)

    def lines(self) -> Iterator[dict[str, Any]]:
        """As `caption` writes them. InputError, by file and line, where one isn't."""
        for file in self.files:
            yield from _table_lines(file) if file.suffix == PARQUET else _json_lines(file)


def _is_part(path: Path) -> bool:
    return path.suffix in (JSONL, PARQUET) and not path.name.startswith(".") and path.is_file()


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):  # a crash, or a run that isn't through
                return
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            yield _checked(entry, file, number)


def _table_lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise missing_package(str(file), error, Extra.PARQUET) from None
    number = 0
    try:
        with ParquetFile(file) as table:
            for batch in table.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield _checked(line_of(row), file, number)
    except (ArrowException, OSError):
        raise InputError(f"{file}: this is no whole Parquet file; make it anew, or leave it out") from None


def line_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A table's row as a line: nothing for what is null, the timings in one."""
    line = {name: value for name, value in row.items() if value is not None and name not in TIMINGS}
    timings = {name: row[name] for name in TIMINGS if row.get(name) is not None}
    return {"sha256": None} | line | ({"timings": timings} if timings else {})


def _checked(entry: Any, file: Path, number: int) -> dict[str, Any]:
    is_line = (
        isinstance(entry, dict)
        and isinstance(entry.get("path"), str)
        and isinstance(entry.get("sha256"), str | None)
        and any(isinstance(entry.get(name), str) for name in ("text", "error"))
    )
    if not is_line:
        raise InputError(f"{file}: line {number} is none that caption writes; leave this file out")
    return dict(entry)
