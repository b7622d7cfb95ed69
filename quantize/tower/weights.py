"""int8 weights by GPTQ: rounded so that a layer's outputs change least on what it reads."""

from __future__ import annotations

import torch
from torch import Tensor

from export.weights.int8 import SYMMETRIC, Int8Linear, Int8Weight, TokenGrid
from export.weights.rotation import rotate
from quantize.gptq.gptq import quantize_weight


def gptq_int8(weight: Tensor, hessian: Tensor, device: torch.device | None = None) -> Int8Weight:
    """int8 codes and a scale a row, by GPTQ on `device`, or where `weight` lies; they lie on the CPU.

    `weight` float32 (out, in), `hessian` X^T X (in, in) of its inputs.
    """
    weight = weight.to(device)
    quantized = quantize_weight(weight, hessian, bits=8, group_size=-1, desc_act=True, limit_pairs=True)
    codes = torch.from_numpy(quantized.codes.astype("int16") - quantized.zeros)  # (out, in), -128 .. 127
    return Int8Weight(codes.to(torch.int8), torch.from_numpy(quantized.scales[:, 0]))


def gptq_linear(
    weight: Tensor,
    hessian: Tensor,
    *,
    grid: TokenGrid = SYMMETRIC,
    rotation: int = 1,
    device: torch.device | None = None,
) -> Int8Linear:
    """The same as a layer that rounds its inputs to `grid`; `weight` and `hessian` are from before rotation."""
    rotated = rotate(rotate(hessian, rotation).T, rotation)
    return Int8Linear(gptq_int8(rotate(weight, rotation), rotated, device), grid, rotation)
