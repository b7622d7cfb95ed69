"""The index of a checkpoint's shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from export.checkpoint.checkpoint import Checkpoint
from tests.fuzz.form import Form
from tests.fuzz.scratch import scratch
from tests.small_checkpoint import TINY, write_checkpoint
from tests.small_checkpoint import Form as CheckpointForm

FORM = Form.JSON
INDEX = "model.safetensors.index.json"


def seeds() -> Iterator[bytes]:
    yield (_folder("whole") / INDEX).read_bytes()


def try_bytes(data: bytes) -> None:
    folder = _folder("fuzzed")
    (folder / INDEX).write_bytes(data)
    Checkpoint.open(folder)


@cache
def _folder(name: str) -> Path:
    folder = scratch() / f"index-{name}"
    if name == "whole":
        return write_checkpoint(folder, form=CheckpointForm.SAFETENSORS, size=TINY)
    return Path(shutil.copytree(_folder("whole"), folder))
