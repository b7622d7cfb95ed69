"""sentencepiece's `tokenizer.model` of a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from export.checkpoint.tokenizer import convert_tokenizer
from tests.fuzz.form import Form
from tests.fuzz.scratch import scratch
from tests.paths import ROOT

FORM = Form.MESSAGE
CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"
MODEL = "tokenizer.model"


def seeds() -> Iterator[bytes]:
    yield (CHECKPOINT / MODEL).read_bytes()


def try_bytes(data: bytes) -> None:
    (_folder() / MODEL).write_bytes(data)
    convert_tokenizer(_folder())


@cache
def _folder() -> Path:
    folder = scratch() / "tokenizer-model"
    folder.mkdir()
    for name in ("config.json", "added_tokens.json", "tokenizer_config.json"):
        shutil.copyfile(CHECKPOINT / name, folder / name)
    return folder
