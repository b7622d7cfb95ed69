"""A GPTQ folder: bytes that begin as an object are its config.json, others its model.safetensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.keys import decoder_keys
from quantize.folder.read import read_gptq_folder
from tests.fuzz.form import Form
from tests.fuzz.scratch import scratch
from tests.paths import ROOT

FORM = Form.TENSORS
GOLDEN = ROOT / "tests" / "golden" / "gptqmodel"
SAMPLES = ("scattered", "second-format")
CONFIG = DecoderConfig(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
)
SETTINGS, WEIGHTS = "config.json", "model.safetensors"


def seeds() -> Iterator[bytes]:
    for sample in SAMPLES:
        yield (GOLDEN / sample / SETTINGS).read_bytes()
        yield (GOLDEN / sample / WEIGHTS).read_bytes()


def try_bytes(data: bytes) -> None:
    folder = _folder()
    changed = SETTINGS if data.startswith(b"{") else WEIGHTS
    (folder / changed).write_bytes(data)
    other = SETTINGS if changed == WEIGHTS else WEIGHTS
    shutil.copyfile(GOLDEN / SAMPLES[0] / other, folder / other)
    opened = read_gptq_folder(folder, CONFIG)
    json.dumps(dict(opened.quantization))
    for name in decoder_keys(CONFIG):
        layer = name.removesuffix(".weight")
        if layer in opened.layouts:
            opened.has_zero_points(layer)
            opened.linear(layer)
        else:
            opened.array(name)


@cache
def _folder() -> Path:
    folder = scratch() / "gptq"
    folder.mkdir()
    return folder
