"""A table of the lines of a log: CSV or Parquet, made anew from all of them and written as a whole.

Neither can be gone on in: CSV's lines may be cut in the middle of a quoted one, Parquet's directory stands at the end.
So the log of JSON lines beside the table is what a run goes on in.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omnilmm_lite.files.durable_file import write_durably
from omnilmm_lite.machine.extras import Extra, missing_package

COLUMNS = ("path", "sha256", "text", "tags", "finish_reason", "error", "model")
ROWS_AT_ONCE = 10_000
# What a spreadsheet would take for a formula: a text of a picture's is a stranger's.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
GUARD = "'"


def log_path(table: Path) -> Path:
    return table.with_name(table.name + ".jsonl")


def write_csv(log: Path, table: Path) -> None:
    """RFC 4180 in UTF-8. A cell that a spreadsheet would take for a formula has an apostrophe in front."""

    def fill(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for entry in _entries(log):
                writer.writerow([_guarded(_cell(entry.get(name))) for name in COLUMNS])

    write_durably(table, fill)


def write_parquet(log: Path, table: Path) -> None:
    """Texts, and `tags` as lists of texts. InputError where pyarrow isn't installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing_package("--format parquet", error, Extra.PARQUET) from None
    texts = pyarrow.string()
    schema = pyarrow.schema([(name, pyarrow.list_(texts) if name == "tags" else texts) for name in COLUMNS])

    def fill(partial: Path) -> None:
        with pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
            rows: list[dict[str, Any]] = []
            for entry in _entries(log):
                rows.append({name: encodable_cell(entry.get(name)) for name in COLUMNS})
                if len(rows) == ROWS_AT_ONCE:
                    writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                    rows = []
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))

    write_durably(table, fill)


def check_parquet() -> None:
    """InputError where the package isn't there: before the run, not behind it."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise missing_package("--format parquet", error, Extra.PARQUET) from None


def _entries(log: Path) -> Iterator[dict[str, Any]]:
    """The last line of each picture, where the first one stood."""
    if not log.is_file():
        return
    newest: dict[str, int] = {}
    with log.open("rb") as file:
        place = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            newest[json.loads(line)["path"]] = place
            place += len(line)
        for place in newest.values():
            file.seek(place)
            yield json.loads(file.readline())


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _guarded(cell: str) -> str:
    return GUARD + cell if cell.startswith(FORMULA_STARTS) else cell


def encodable(text: str) -> str:
    """As JSON has it where it is a name that isn't UTF-8: a table takes no lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def encodable_cell(value: Any) -> Any:
    """`encodable` where it is a text."""
    return encodable(value) if isinstance(value, str) else value
