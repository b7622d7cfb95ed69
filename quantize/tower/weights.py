"""int8 weights by GPTQ: rounded so that a layer's outputs change least on what it reads."""

from __future__ import annotations

import torch
from torch import Tensor

from export.weights.int8 import SYMMETRIC, Int8Linear, Int8Weight, TokenGrid
from export.weights.rotation import rotate
from quantize.gptq.gptq import quantize_weight


def gptq_int8(weight: Tensor, hessian: Tensor) -> Int8Weight:
    """int8 codes and a scale a row, by GPTQ. `weight` float32 (out, in), `hessian` X^T X (in, in) of its inputs."""
    quantized = quantize_weight(weight, hessian, bits=8, group_size=-1, desc_act=True, limit_pairs=True)
    codes = torch.from_numpy(quantized.codes.astype("int16") - quantized.zeros)  # (out, in), -128 .. 127
    return Int8Weight(codes.to(torch.int8), torch.from_numpy(quantized.scales[:, 0]))


def gptq_linear(weight: Tensor, hessian: Tensor, *, grid: TokenGrid = SYMMETRIC, rotation: int = 1) -> Int8Linear:
    """The same as a layer that rounds its inputs to `grid`; `weight` and `hessian` are from before rotation."""
    rotated = rotate(rotate(hessian, rotation).T, rotation)
    return Int8Linear(gptq_int8(rotate(weight, rotation), rotated), grid, rotation)
