"""JSON that an earlier run left in a work folder, read as each of the things that it may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from omnilmm_lite.bundle.schema import build
from omnilmm_lite.files.checked_file import checksum_path
from quantize.decoder.budget import damages_json, parse_damages
from quantize.decoder.report import ProjectionReport, parse_projections, report_json
from quantize.folder.packing import Layout
from quantize.tower.quantizer import BlockReport
from quantize.work_folder import WorkFolder, read_kept
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.JSON
PARSERS: tuple[Callable[[dict[str, Any]], object], ...] = (
    parse_projections,
    parse_damages,
    lambda data: build(BlockReport, data),
)


def seeds() -> Iterator[bytes]:
    projections = [ProjectionReport("model.layers.0.mlp.up_proj", 4, 128, 0.5, 0.01)] * 2
    yield json.dumps(report_json(projections, {"bits": 4, "damp": 0.01})).encode()
    yield json.dumps(damages_json({("a", "b"): {Layout(4, 128): 0.1, Layout(8, -1): 0.0}})).encode()
    yield b'{"mean_cosine": 0.99, "worst_cosine": 0.9, "fc2_rotation": 128}'
    yield b'{"bits": 4, "calibration": "00", "work_format": 3}'


def try_bytes(data: bytes) -> None:
    for parse in PARSERS:
        path = written("work/kept.json", data)
        checksum_path(path).unlink(missing_ok=True)
        read_kept(path, parse, lambda line: None)
    work = WorkFolder(written("work/arguments.json", data).parent)
    work.check_arguments(json.loads(data) if data in tuple(seeds()) else {"bits": 4}, outdated=(2,))
