"""What a conversion is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.torch_device import TorchDevice
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig
from quantize.calibration.token_sequences import CalibrationLimits
from quantize.decoder.options import DecoderOptions
from quantize.disk import used_bytes


@dataclass(frozen=True)
class ConversionRequest:
    """What is to be converted, and how."""

    checkpoint: Path
    out: Path  # the bundle; absolute
    work_dir: Path  # where finished decoder layers and tower blocks are kept
    preset: Preset
    options: DecoderOptions | None  # how to quantize the decoder; None where it stays as it is or comes from `gptq`
    gptq: Path | None  # a GPTQ folder that the decoder is taken from instead
    calibration: Path | None  # data whose pictures the tower is calibrated on; None: the built-in ones
    device: TorchDevice = TorchDevice()  # noqa: RUF009  # immutable

    @property
    def limits(self) -> CalibrationLimits:
        """How much of the calibration data is used."""
        return CalibrationLimits() if self.options is None else self.options.limits

    def decoder_bytes(self, config: DecoderConfig) -> int | None:
        """About what the decoder's GPTQ checkpoint takes; None where it isn't quantized."""
        if self.options is not None:
            return self.options.checkpoint_bytes(config)
        return None if self.gptq is None else used_bytes(self.gptq)
