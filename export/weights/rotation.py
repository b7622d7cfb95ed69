"""Rotations spread outliers: an orthogonal matrix between activations and weights changes nothing but the rounding.

x W^T = (x R) (W R)^T. The weight's side is done once. The activations' side is one small matrix product, or free where
a linear layer without anything but attention in between has produced them.
Source: Ashkboos et al. 2024, "QuaRot"; block-wise, so that it stays cheap and suits widths that are no powers of two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from omnilmm_lite.errors import InputError


def hadamard(size: int) -> Tensor:
    """Sylvester's symmetric orthogonal matrix of +-size^-0.5: float32 (size, size), `size` a power of two."""
    if size < 1 or size & (size - 1):
        raise InputError(f"a Hadamard block must be a power of two, not {size}")
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix.div_(size**0.5)


def rotate(x: Tensor, block: int) -> Tensor:
    """Each run of `block` columns of (..., columns) times the Hadamard matrix; twice gives `x` again."""
    if x.shape[-1] % block:
        raise InputError(f"Hadamard blocks of {block} don't divide {x.shape[-1]} columns")
    if block == 1:
        return x
    rotated: Tensor = x.unflatten(-1, (-1, block)) @ hadamard(block)
    return rotated.flatten(-2)


def rotate_values(value: Tensor, bias: Tensor, proj: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """Folds the rotation of an attention's output into the layers around it: costs nothing when the model runs.

    `value` (hidden, in) with `bias` (hidden,) makes the values, `proj` (out, hidden) reads what attention mixes of
    them. Attention mixes tokens, never channels, so blocks that divide the head's width commute with it.
    """
    return rotate(value.T, block).T, rotate(bias, block), rotate(proj, block)
