"""A linear layer in 8-bit integers, as onnxruntime computes it.

Weights are int8 with a scale per output channel and the zero point 0, and their pairs are limited so that every
processor sums them exactly (`export.weights.pairs`). Activations become uint8 while the model runs, with a scale per
token and one zero point for all tokens, which is all that the operator takes:

    y = MatMulIntegerToFloat(QuantizeLinear(x, scale, zero point, axis=token), codes, 1, weight scale) * scale

`Int8Linear` gives the same numbers, bit for bit: integers are summed exactly, and each float operation happens once and
in the same order. It is meant for measuring and for checking graphs, not for speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from export.weights.pairs import largest_pair, limit_pairs
from export.weights.rotation import rotate
from omnilmm_lite.bundle.layout import PAIR_SUM

WEIGHT_CODES = 127  # -127 .. 127, and -128 where GPTQ asks for it
ACTIVATION_CODES = 255  # 0 .. 255
LEAST_SCALE = torch.finfo(torch.float32).tiny  # of a token or a channel of nothing but zeros
GELU_MINIMUM = -0.169972  # of x * Phi(x), at x = -0.7518
# Whole numbers below 2^24 add up in float32 without rounding, in any order: products of this many codes do.
EXACT_COLUMNS = (1 << 24) // (ACTIVATION_CODES * (WEIGHT_CODES + 1))


@dataclass(frozen=True)
class Int8Weight:
    codes: Tensor  # int8 (out, in), pairs limited
    scale: Tensor  # float32 (out,)

    @classmethod
    def round(cls, weight: Tensor) -> Int8Weight:
        """Every weight, float32 (out, in), to the nearest of its channel's evenly spaced values: 255 of them, or fewer
        where neighbours are large together."""
        loudest = torch.maximum(weight.abs().amax(1) / WEIGHT_CODES, largest_pair(weight)[:, 0] / PAIR_SUM)
        scale = loudest.clamp_(min=LEAST_SCALE)
        codes = torch.round(weight / scale[:, None])
        return cls(limit_pairs(codes).to(torch.int8), scale)  # the scale itself was rounded, so a pair may be one over

    def dequantize(self) -> Tensor:
        """float32 (out, in)"""
        return self.codes * self.scale[:, None]

    def split(self, parts: int) -> list[Int8Weight]:
        """The weight cut into equal runs of its rows."""
        return [Int8Weight(*run) for run in zip(self.codes.chunk(parts), self.scale.chunk(parts), strict=True)]


@dataclass(frozen=True)
class TokenGrid:
    """How a token's activations become uint8: code = round(x / scale) + zero point, the scale its own.

    `minimum` is what activations can't fall below, None where they reach as far down as up. With a known minimum the
    zero point can lie low and leave most codes to the positive side, at twice the resolution; a scale small enough to
    push the minimum off the codes is never chosen.
    """

    zero_point: int = 128
    minimum: float | None = None

    def scale(self, x: Tensor) -> Tensor:
        """float32 (..., in) -> (..., 1)"""
        if self.minimum is None:
            return (x.abs().amax(-1, keepdim=True) / (ACTIVATION_CODES - self.zero_point)).clamp_(min=LEAST_SCALE)
        least = -self.minimum / self.zero_point
        return (x.amax(-1, keepdim=True) / (ACTIVATION_CODES - self.zero_point)).clamp_(min=least)

    def encode(self, x: Tensor, scale: Tensor) -> Tensor:
        """uint8, shaped like `x`. Halves go to the even neighbour; what lies outside goes to the nearest end."""
        return torch.round(x / scale).add_(self.zero_point).clamp_(0, ACTIVATION_CODES).to(torch.uint8)


SYMMETRIC = TokenGrid()
AFTER_GELU = TokenGrid(zero_point=24, minimum=GELU_MINIMUM)


@dataclass(frozen=True)
class Int8Linear:
    """x (..., in) -> (..., out), without bias."""

    weight: Int8Weight  # for the rotated input
    grid: TokenGrid = SYMMETRIC
    rotation: int = 1  # block size of the Hadamard rotation that the input goes through first; 1: none

    @classmethod
    def round(cls, weight: Tensor, *, grid: TokenGrid = SYMMETRIC, rotation: int = 1) -> Int8Linear:
        """`weight` float32 (out, in), each value to the nearest after rotation; needs no data."""
        return cls(Int8Weight.round(rotate(weight, rotation)), grid, rotation)

    def __call__(self, x: Tensor) -> Tensor:
        x = rotate(x, self.rotation)
        scale = self.grid.scale(x)
        steps = self.grid.encode(x, scale).to(torch.int16) - self.grid.zero_point  # (..., in)
        return integer_product(steps, self.weight.codes) * self.weight.scale * scale


def integer_product(steps: Tensor, codes: Tensor) -> Tensor:
    """The exact product of whole numbers, (..., in) and (out, in), rounded to float32 once: (..., out).

    `steps` int16, within 256 neighbouring numbers; `codes` int8.
    """
    if codes.shape[1] > EXACT_COLUMNS and torch.cpu.get_capabilities().get("avx512_vnni"):
        return _by_integers(steps, codes)
    pairs = zip(steps.split(EXACT_COLUMNS, dim=-1), codes.split(EXACT_COLUMNS, dim=-1), strict=True)
    total = torch.zeros(*steps.shape[:-1], len(codes), dtype=torch.int32)
    for part, weight in pairs:
        total += (part.float() @ weight.float().T).to(torch.int32)
    return total.float()


def _by_integers(steps: Tensor, codes: Tensor) -> Tensor:
    """The same, many times as fast. Only with VNNI: elsewhere torch's product was exact on emulated processors, but how
    fast it is wasn't measured. And only for wide rows: torch 2.13 answers nonsense for one column."""
    shift = max(0, int(steps.max()) - 127)  # brings them into int8
    rows = (steps - shift).to(torch.int8).flatten(0, -2)
    total = torch._int_mm(rows, codes.T) + shift * codes.sum(1, dtype=torch.int32)  # (rows, out), int32
    return total.float().reshape(*steps.shape[:-1], len(codes))
