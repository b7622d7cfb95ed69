"""What the torch engine keeps weights in. Imports nothing heavy: the parser is built for every command."""

from __future__ import annotations

from enum import Enum
from pathlib import Path


class Weights(Enum):
    """What the torch engine keeps a decoder's linear layers in; the value is `--weights`' word for it."""

    NF4 = "nf4"  # 4 bits, in blocks of 64, their scales in 8 bits: QLoRA's, by bitsandbytes
    INT8 = "int8"  # LLM.int8, by bitsandbytes
    BF16 = "bf16"  # as the checkpoint has them
    FP32 = "fp32"  # for comparing numbers

    @property
    def is_quantized(self) -> bool:
        return self in (Weights.NF4, Weights.INT8)


def kept_weights(checkpoint: Path, weights: Weights) -> Path:
    """The folder beside a checkpoint that its quantized layers are kept in, where one can be made there."""
    return checkpoint.with_name(f"{checkpoint.name}.{weights.value}")
