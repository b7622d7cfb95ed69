"""`config.json` of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator

from export.checkpoint.hf_config import model_config, read_config
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.keys import expected_keys
from omnilmm_lite.plan.planned_model import PlannedModel
from tests.fuzz.form import Form
from tests.fuzz.scratch import written
from tests.paths import ROOT
from tests.small_checkpoint import TINY, config_json
from tests.small_checkpoint import Form as CheckpointForm

FORM = Form.JSON


def seeds() -> Iterator[bytes]:
    yield (ROOT / "examples" / "tiny" / "checkpoint" / "config.json").read_bytes()
    yield json.dumps(config_json(TINY, CheckpointForm.SAFETENSORS, vision_config=True)).encode()


def try_bytes(data: bytes) -> None:
    path = written("config/config.json", data)
    config = model_config(path.parent, read_config(path.parent), {})
    if config.decoder.num_hidden_layers + config.vision.num_hidden_layers < 100:
        expected_keys(config)
        PlannedModel.planned("fuzzed", config, find_preset("cpu"))
