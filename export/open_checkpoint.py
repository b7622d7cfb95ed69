"""What `--model CHECKPOINT` asks of a checkpoint. Imports nothing heavy: the parser is built for every command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.weights import Weights

if TYPE_CHECKING:
    from omnilmm_lite.model_source import ModelSource


def open_checkpoint(folder: Path, weights: Weights) -> ModelSource:
    """The checkpoint's headers, read and checked. InputError where it is none, or the torch engine isn't installed."""
    from omnilmm_lite.torch_engine.packages import check_torch_installed

    check_torch_installed()
    from export.checkpoint.checkpoint import Checkpoint
    from export.torch_model import CheckpointSource

    return CheckpointSource(Checkpoint.open(folder), weights)
