"""Grids: the scale and zero point that a group of weights shares, and rounding onto them.

A grid has 2^bits evenly spaced values, (code - zero) * scale. Scales are rounded to fp16, which is what every packed
format stores, before any code is chosen, so that the codes make up for that rounding too.

Zero points stay within 1 .. 2^bits - 1. The GPTQ checkpoint format stores zero - 1 in an unsigned field: a zero point
of 0 wraps there, and the public readers disagree on what a wrapped field means. It would only ever be the best choice
for a group without a single negative weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from export.weights.pairs import largest_pair
from omnilmm_lite.bundle.layout import PAIR_SUM

# The smallest fp16 number above zero: a group of (next to) nothing but zeros still needs a scale to divide by.
SMALLEST_SCALE = 2.0**-24

# How far the search narrows the min-max range: clipping a rare outlier buys finer steps for all the others.
SHRINKS = tuple(1.0 - 0.05 * step for step in range(11))
REFINEMENTS = 3
# Elements searched at once: a dozen temporaries of this size stay within a core's cache, and torch doesn't split them
# over threads, which wait for each other longer than they work.
CHUNK_ELEMENTS = 1 << 15
# On a card each operator costs microseconds, however little it does.
CARD_CHUNK_ELEMENTS = 1 << 23


class GridMethod(Enum):
    """How a group's scale and zero point are chosen."""

    MIN_MAX = "min-max"  # the narrowest grid that clips nothing: plain GPTQ
    WEIGHTED = "weighted"  # the least squared error, each column weighted by what its error costs


@dataclass(frozen=True)
class GridScheme:
    bits: int = 4
    sym: bool = True  # the zero point is fixed in the middle of the codes
    method: GridMethod = GridMethod.MIN_MAX
    limit_pairs: bool = False  # see `export.weights.pairs`; for 8 bits, symmetric, whole rows

    @property
    def max_code(self) -> int:
        return (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """The zero point of symmetric grids."""
        return 1 << (self.bits - 1)


@dataclass(frozen=True)
class Grid:
    """Grids of many groups at once; `scale` and `zero` broadcast against what is encoded."""

    scale: Tensor  # float32, fp16 values
    zero: Tensor  # float32, whole numbers
    max_code: int

    def encode(self, weight: Tensor) -> Tensor:
        """The nearest codes, as float32 whole numbers."""
        return torch.round(weight / self.scale).add_(self.zero).clamp_(0, self.max_code)

    def decode(self, codes: Tensor) -> Tensor:
        return (codes - self.zero) * self.scale


def choose_grid(weight: Tensor, importance: Tensor, scheme: GridScheme) -> Grid:
    """One grid for each row: `weight` float32 (rows, columns) -> `scale` and `zero` (rows, 1).

    `importance` float32 (rows, columns) or (1, columns), not negative, weighs the squared errors where the method
    searches; columns of importance zero have no say.
    """
    if scheme.method is GridMethod.MIN_MAX:
        return _min_max(weight, scheme)
    elements = CHUNK_ELEMENTS if weight.device.type == "cpu" else CARD_CHUNK_ELEMENTS
    rows = max(1, elements // weight.shape[1])
    importance = importance.expand_as(weight)
    parts = [
        _search(part, part_importance, scheme)
        for part, part_importance in zip(weight.split(rows), importance.split(rows), strict=True)
    ]
    scale, zero = torch.cat([part.scale for part in parts]), torch.cat([part.zero for part in parts])
    return Grid(scale, zero, scheme.max_code)


def _stored_scale(scale: Tensor) -> Tensor:
    """Rounded to fp16 and back, kept away from zero and infinity; the sign stays."""
    size = scale.abs().clamp(SMALLEST_SCALE, torch.finfo(torch.float16).max)
    return torch.where(scale < 0, -size, size).half().float()


def _min_max(weight: Tensor, scheme: GridScheme) -> Grid:
    low, high = _range(weight)
    if scheme.sym:
        scale = 2 * torch.maximum(-low, high) / scheme.max_code
        if scheme.limit_pairs:
            scale = torch.maximum(scale, largest_pair(weight) / PAIR_SUM)
        scale = _stored_scale(scale)
        return Grid(scale, torch.full_like(scale, scheme.middle), scheme.max_code)
    scale = _stored_scale((high - low) / scheme.max_code)
    return Grid(scale, torch.round(-low / scale).clamp_(1, scheme.max_code), scheme.max_code)


def _range(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest of each row, both reaching zero: (rows, 1) each."""
    return weight.amin(1, keepdim=True).clamp_(max=0), weight.amax(1, keepdim=True).clamp_(min=0)


def _search(weight: Tensor, importance: Tensor, scheme: GridScheme) -> Grid:
    best = _min_max(weight, scheme)
    codes = best.encode(weight)
    least = _error(best, codes, weight, importance)
    for candidate in _candidates(weight, scheme):
        best, codes, least = _better(best, codes, least, candidate, weight, importance)
    for _ in range(REFINEMENTS):
        candidate = _refit(best, codes, weight, importance)
        best, codes, least = _better(best, codes, least, candidate, weight, importance)
    return best


def _candidates(weight: Tensor, scheme: GridScheme) -> Iterator[Grid]:
    low, high = _range(weight)
    if scheme.sym:
        # There is one more step below the middle than above it: the wider side may have it, so the sign of the
        # scale is free. A full range then needs absmax / middle only, against 2 * absmax / max_code in min-max.
        extreme = torch.where(high > -low, high, low)
        middle = torch.full_like(low, scheme.middle)
        for shrink in SHRINKS:
            yield Grid(_stored_scale(-shrink * extreme / scheme.middle), middle, scheme.max_code)
            yield Grid(_stored_scale(shrink * extreme / scheme.middle), middle, scheme.max_code)
        return
    for shrink in SHRINKS:
        scale = _stored_scale(shrink * (high - low) / scheme.max_code)
        for side in (0.0, 0.5, 1.0):  # clip above, on both sides alike, below
            start = low + side * (1 - shrink) * (high - low)
            yield Grid(scale, torch.round(-start / scale).clamp_(1, scheme.max_code), scheme.max_code)


def _error(grid: Grid, codes: Tensor, weight: Tensor, importance: Tensor) -> Tensor:
    return grid.decode(codes).sub_(weight).square_().mul_(importance).sum(1, keepdim=True)


def _better(
    best: Grid, codes: Tensor, least: Tensor, candidate: Grid, weight: Tensor, importance: Tensor
) -> tuple[Grid, Tensor, Tensor]:
    """Row by row the better of two grids, with its codes and its error."""
    new_codes = candidate.encode(weight)
    error = _error(candidate, new_codes, weight, importance)
    wins = error < least
    grid = Grid(
        torch.where(wins, candidate.scale, best.scale), torch.where(wins, candidate.zero, best.zero), best.max_code
    )
    return grid, torch.where(wins, new_codes, codes), torch.where(wins, error, least)


def _refit(grid: Grid, codes: Tensor, weight: Tensor, importance: Tensor) -> Grid:
    """The scale of least weighted squared error for codes that stay as they are."""
    steps = codes - grid.zero
    fitted = (importance * weight * steps).sum(1, keepdim=True) / (importance * steps * steps).sum(1, keepdim=True)
    usable = torch.isfinite(fitted) & (fitted != 0)
    return Grid(_stored_scale(torch.where(usable, fitted, grid.scale)), grid.zero, grid.max_code)
