"""The targets a bundle can be built for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omnilmm_lite.bundle.manifest import PREFILL, Graphs
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError
from omnilmm_lite.formats import FP16, FP32, FP32_FROM_FP16, LinearFormat, Precision


@dataclass(frozen=True)
class Preset:
    """`vision`, `resampler`, `decoder` say what everything but linear layers is computed and stored in.

    `accuracy_level` is MatMulNBits': 0 multiplies in the activations' own format, 4 rounds them to int8.
    """

    name: str
    summary: str
    target: Device
    vision: Precision
    resampler: Precision
    decoder: Precision
    quantized: bool  # the decoder's linear layers, in the bits that its GPTQ checkpoint has
    tower: LinearFormat = LinearFormat.FLOAT
    # A second decoder graph, for prompts: 1.4 times as fast there (docs/performance.md), and 7 GB more.
    int8_prefill: bool = False
    # The tower is loaded for each new picture and let go before the decoder is: the larger of the two is the peak.
    time_shared: bool = False
    accuracy_level: int = 0
    lm_head_bits: int = 16  # 8: rounded to nearest, where the decoder is quantized at all
    packing: Packing = Packing.BLOCKWISE  # no preset has another by itself: none was measured on a card

    @property
    def mapped(self) -> tuple[str, ...]:
        """The manifest's: graphs whose large products are all int8 with many rows."""
        tower = (Graphs().vision,) if self.tower is LinearFormat.INT8 else ()
        return (*tower, *((PREFILL,) if self.int8_prefill else ()))

    def packed(self, packing: Packing) -> Preset:
        """The preset with its decoder in another packing; InputError where its device has no kernels for that."""
        if packing is Packing.BLOCKWISE:
            return self
        if self.target is not Device.CUDA:
            cards = ", ".join(preset.name for preset in PRESETS.values() if preset.target is Device.CUDA)
            raise InputError(
                f"--packing {packing.value}: the preset {self.name} is for the CPU, which has no such kernels; leave "
                f"it out, or take one of {cards}"
            )
        return replace(self, packing=packing, lm_head_bits=8)


_REFERENCE = Preset(
    name="reference",
    summary="fp32 throughout, for the CPU: what parity is measured on",
    target=Device.CPU,
    vision=FP32,
    resampler=FP32,
    decoder=FP32,
    quantized=False,
)
_CPU = Preset(
    name="cpu",
    summary="tower and prompts in int8, answers in 4 bits, for the CPU: the fastest there",
    target=Device.CPU,
    vision=FP32,
    resampler=FP32_FROM_FP16,
    decoder=FP32_FROM_FP16,
    quantized=True,
    tower=LinearFormat.INT8,
    int8_prefill=True,
    time_shared=True,
    accuracy_level=4,
    lm_head_bits=8,
)
_CPU_SMALL = replace(
    _CPU,
    name="cpu-small",
    summary="tower in int8, decoder in 4 bits, for a CPU with little memory",
    int8_prefill=False,
)
_24GB = Preset(
    name="24gb",
    summary="decoder in 4 bits, all else in fp16, for a CUDA card with 24 GB",
    target=Device.CUDA,
    vision=FP16,
    resampler=FP16,
    decoder=FP16,
    quantized=True,
)
_16GB = replace(
    _24GB,
    name="16gb",
    summary="as 24gb, the last layer in 8 bits, for a CUDA card with 16 GB",
    lm_head_bits=8,
)
_12GB = replace(
    _16GB,
    name="12gb",
    summary="tower in 8 bits, decoder in 4, for a CUDA card with 12 GB",
    tower=LinearFormat.BITS8,
)
_8GB = replace(
    _12GB,
    name="8gb",
    summary="as 12gb, tower and decoder in turns, for a CUDA card with 8 GB",
    time_shared=True,
)

PRESETS = {preset.name: preset for preset in (_REFERENCE, _CPU, _CPU_SMALL, _24GB, _16GB, _12GB, _8GB)}


def find_preset(name: str) -> Preset:
    """The preset of this name; InputError, which lists the presets there are, for any other."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"preset {name!r} is unknown: choose one of {', '.join(PRESETS)}") from None
