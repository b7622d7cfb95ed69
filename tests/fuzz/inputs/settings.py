"""How an answer is drawn, as /set in the chat and the Python API take it: an object of names and values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from omnilmm_lite.sampling_params import SamplingOptions, SamplingParams, sampling_params
from omnilmm_lite.terminal.settings import changed, rows
from tests.fuzz.form import Form

FORM = Form.JSON


def seeds() -> Iterator[bytes]:
    yield json.dumps({name: getattr(SamplingParams(), name) for name in SamplingParams.__annotations__}).encode()


def try_bytes(data: bytes) -> None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(found, dict):
        return
    known: Any = {name: value for name, value in found.items() if name in SamplingOptions.__annotations__}
    typed = SamplingParams()
    for name, value in found.items():
        typed = changed(typed, SamplingParams(), name, str(value))
    rows(typed, SamplingParams())
    rows(sampling_params(SamplingParams(), known), SamplingParams())
