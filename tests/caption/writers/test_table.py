"""Tables of a log's lines, read by Python's csv and by pyarrow."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.caption.writers.table import COLUMNS, log_path, write_csv, write_parquet
from omnilmm_lite.errors import InputError

ODD = os.fsdecode(b"\xff.png") if sys.platform != "win32" else "odd.png"
LINES: list[dict[str, Any]] = [
    {"path": "a.png", "sha256": "1", "text": 'He said "x", then\nleft; ünï', "finish_reason": "stop", "model": "m"},
    {"path": "=cmd|'/c calc'!A1.png", "sha256": "2", "text": "=HYPERLINK(1)", "finish_reason": "stop", "model": "m"},
    {"path": "b.png", "sha256": None, "error": "picture: damaged", "model": "m"},
    {"path": "c.png", "sha256": "3", "text": "cat, -dog", "tags": ["cat", "-dog"], "model": "m"},
    {"path": ODD, "sha256": "4", "text": "- a\r\n", "finish_reason": "length", "model": "m"},
    {"path": "b.png", "sha256": "5", "text": "tried again", "finish_reason": "stop", "model": "m"},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = log_path(tmp_path / "out.csv")
    lines = [json.dumps(line).encode("utf-8", "backslashreplace") + b"\n" for line in LINES]
    path.write_bytes(b"".join(lines) + b'{"path": "cut')
    return path


def test_csv_comes_back_and_holds_no_formula(log: Path, tmp_path: Path) -> None:
    write_csv(log, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["sha256"] for row in rows] == ["1", "2", "5", "3", "4"]  # the newest line of each
    assert rows[0]["text"] == LINES[0]["text"]
    assert (rows[1]["path"], rows[1]["text"]) == ("'" + LINES[1]["path"], "'=HYPERLINK(1)")
    assert (rows[2]["text"], rows[2]["error"]) == ("tried again", "")
    assert (rows[3]["tags"], rows[4]["text"]) == ("cat, -dog", "'- a\r\n")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    assert [each.name for each in tmp_path.iterdir()] != [] and not list(tmp_path.glob("*.partial"))


def test_parquet_has_every_text_as_it_is(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("omnilmm_lite.caption.writers.table.ROWS_AT_ONCE", 2)
    write_parquet(log, tmp_path / "out.parquet")
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert tuple(rows[0]) == COLUMNS
    assert [row["text"] for row in rows] == [LINES[place]["text"] for place in (0, 1, 5, 3, 4)]
    assert (rows[3]["tags"], rows[0]["tags"], rows[2]["error"]) == (["cat", "-dog"], None, None)
    assert parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups == 3


def test_without_pyarrow_it_says_what_to_install(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"--format parquet needs the package pyarrow: run .*parquet"):
        write_parquet(log, tmp_path / "out.parquet")
