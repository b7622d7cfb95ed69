"""A checkpoint's folder, opened and loaded as the commands do it."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.open_checkpoint import open_checkpoint
from omnilmm_lite.model import Model
from omnilmm_lite.model_source import MachineOptions
from omnilmm_lite.weights import Weights
from tests.paths import ROOT

TRAINED = ROOT / "examples" / "tiny" / "checkpoint"


def options(**changes: object) -> MachineOptions:
    """On the CPU; one thread, as each of the tests' processes has one core."""
    machine = MachineOptions(device="cpu", context=128, threads=1, drafts=False, cuda_graph=False)
    machine.update(changes)  # type: ignore[typeddict-item]
    return machine


def copied(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint in a folder of the test's own, since quantized layers are kept beside it."""
    return Path(shutil.copytree(checkpoint, folder / "model"))


def loaded(folder: Path, weights: Weights, **changes: object) -> Model:
    return open_checkpoint(folder, weights).load(options(**changes))
