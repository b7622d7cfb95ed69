"""What a user can choose about quantizing a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig
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
    answer_tokens: int = 48  # of the answers that the model writes where the data has none; 0: none are written
    target_size: int | None = None  # bytes of the decoder on disk; None: every layer as `settings` say

    def checkpoint_bytes(self, config: DecoderConfig) -> int:
        """About what the GPTQ checkpoint takes; with a target size, which is the graph's, perhaps a little more."""
        plain = checkpoint_bytes(config, {}, Layout(self.settings.bits, self.settings.group_size))
        return max(plain, self.target_size or 0)
