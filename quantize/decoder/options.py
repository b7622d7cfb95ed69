"""What a user can choose about quantizing a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from quantize.calibration.token_sequences import CalibrationLimits
from quantize.disk import checkpoint_bytes
from quantize.folder.packing import Layout
from quantize.gptq.settings import GPTQSettings


@dataclass(frozen=True)
class DecoderOptions:
    """What a user can choose."""

    source: Path | None  # calibration data; None: the built-in conversations
    limits: CalibrationLimits
    settings: GPTQSettings
    preset: Preset  # says how much room everything takes
    device: torch.device
    answer_tokens: int = 48  # of the answers that the model writes where the data has none; 0: none are written
    target_size: int | None = None  # bytes of the decoder on disk; None: every layer as `settings` say

    def checkpoint_bytes(self, config: DecoderConfig) -> int:
        """About what the GPTQ checkpoint takes; with a target size, which is the graph's, perhaps a little more."""
        plain = checkpoint_bytes(config, {}, Layout(self.settings.bits, self.settings.group_size))
        return max(plain, self.target_size or 0)


def find_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`; InputError for another, and for a card that torch doesn't see."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device: {name!r} is unknown; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no CUDA card; install its CUDA build, or use --device cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")
