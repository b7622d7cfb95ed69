"""What the public scorers made of made-up predictions: tests/golden/evaluation/README.md says how."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.data.tsv_items import read_tsv
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.scoring.result import Result
from tests.paths import ROOT

FOLDER = ROOT / "tests" / "golden" / "evaluation"


def load(name: str) -> dict[str, Any]:
    """The file's object."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def picture(color: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A small PNG file."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def cell(data: bytes | None = None) -> str:
    """A picture as TSV files have it, longer than what would be another row's index."""
    return base64.b64encode(data or picture()).decode()


def write_tsv(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """As pandas writes them: quoted where need be."""
    listed = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    return path


def predictions(
    path: Path, benchmark: Benchmark, rows: Iterable[Mapping[str, str]], texts: Sequence[str]
) -> list[Prediction]:
    """The rows through a TSV file and its reader, each with what was answered."""
    data = read_tsv(write_tsv(path, rows), benchmark)
    assert data.problems == ()
    return [Prediction(item, text) for item, text in zip(data.items, texts, strict=True)]


def named_rows(golden: Mapping[str, Any]) -> list[dict[str, str]]:
    """The file's rows by column, without pictures."""
    return [dict(zip(golden["columns"], map(str, row), strict=True)) for row in golden["rows"]]


def score_named(result: Result, name: str) -> float:
    """The value of one of the result's scores or categories."""
    return next(each.value for each in (*result.scores, *result.categories) if each.name == name)
