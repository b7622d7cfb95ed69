"""The targets a bundle can be built for."""

from __future__ import annotations

from dataclasses import dataclass

from export.precision import FP16, FP32, FP32_FROM_FP16, Precision
from omnilmm_lite.device import Device
from omnilmm_lite.errors import InputError


@dataclass(frozen=True)
class Preset:
    """`accuracy_level` is MatMulNBits': 0 multiplies in the activations' own format, 4 rounds them to int8."""

    name: str
    summary: str
    target: Device
    vision: Precision
    resampler: Precision
    decoder: Precision
    quantized: bool
    accuracy_level: int = 0
    lm_head_bits: int = 16  # 8: rounded to nearest, where the decoder is quantized at all


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="reference",
            summary="fp32 throughout, for the CPU: what parity is measured on",
            target=Device.CPU,
            vision=FP32,
            resampler=FP32,
            decoder=FP32,
            quantized=False,
        ),
        Preset(
            name="cpu",
            summary="decoder in 4 bits, tower computed in fp32 and stored in fp16, for the CPU",
            target=Device.CPU,
            vision=FP32_FROM_FP16,
            resampler=FP32_FROM_FP16,
            decoder=FP32_FROM_FP16,
            quantized=True,
            accuracy_level=4,
        ),
        Preset(
            name="24gb",
            summary="decoder in 4 bits, all else in fp16, for a CUDA card with 24 GB",
            target=Device.CUDA,
            vision=FP16,
            resampler=FP16,
            decoder=FP16,
            quantized=True,
        ),
    )
}


def find_preset(name: str) -> Preset:
    """InputError names the presets there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"preset {name!r} is unknown: choose one of {', '.join(PRESETS)}") from None
