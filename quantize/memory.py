"""What quantizing a decoder needs of memory, known before it starts."""

from __future__ import annotations

import math
from pathlib import Path

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.keys import decoder_keys
from omnilmm_lite.machine.memory import fatal_limit
from quantize.work_folder import WorkFolder

FP32_BYTES = 4
FIRST_LAYER = "model.layers.0."


def layer_bytes(config: DecoderConfig) -> int:
    """One layer in fp32."""
    shapes = decoder_keys(config)
    return FP32_BYTES * sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(FIRST_LAYER))


def least_bytes(config: DecoderConfig) -> int:
    """A layer in fp32 twice, the original's and the quantized one; two matrices as large as the widest Hessian. Torch,
    the calibration's sequence and the files' pages come on top (docs/quantization.md)."""
    widest = max(config.hidden_size, config.q_dim, config.intermediate_size)
    return 2 * (layer_bytes(config) + FP32_BYTES * widest * widest)


def check_memory(config: DecoderConfig, work_dir: Path) -> None:
    """OmniLMMError where a container allows less: the system would end the process without a word, hours later. Where
    the work folder holds the finished decoder, nothing of that is needed."""
    if WorkFolder(work_dir).gptq.is_dir():
        return
    limit, needed = fatal_limit(), least_bytes(config)
    if limit is not None and limit.size < needed:
        raise OmniLMMError(
            f"quantizing this decoder takes {shown_size(needed)} of memory at least, and this container may have "
            f"{shown_size(limit.size)} ({limit.file}): raise that limit, or convert on another machine"
        )
