"""What the torch engine computes in."""

from __future__ import annotations

import torch

from omnilmm_lite.machine.processor import has_bf16_products, instruction_sets
from omnilmm_lite.weights import Weights


def compute_dtype(weights: Weights, device: torch.device) -> torch.dtype:
    """Of products, attention and the KV cache. Residuals, norms and rotary positions are fp32 throughout."""
    if weights is Weights.FP32:
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if has_bf16_products(instruction_sets()) else torch.float32
