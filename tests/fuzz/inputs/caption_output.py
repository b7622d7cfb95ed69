"""What an earlier `caption` left: bytes that begin with an object on a line of its own are the settings beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from omnilmm_lite.caption.output import Output, settings_path
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.LINES
SETTINGS = {"model": "tiny@1", "prompt": "Why?", "temperature": 0.6, "seed": None}
LINES = (
    b'{"path": "a.png", "sha256": "00", "text": "A cat."}\n{"path": "b/c.png", "sha256": null, "error": "damaged"}\n'
)


def seeds() -> Iterator[bytes]:
    yield LINES
    yield json.dumps(SETTINGS, indent=1).encode()


def try_bytes(data: bytes) -> None:
    is_settings = data.startswith(b"{\n")
    path = written("captions.jsonl", LINES if is_settings else data)
    settings_path(path).write_bytes(data if is_settings else json.dumps(SETTINGS).encode())
    Output(path, SETTINGS).has_answer("a.png", "00")
