"""GPTQ for one weight: Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate Post-Training Quantization".

Columns are rounded one after another; what a column's rounding does to the layer's output is made up for by the columns
not yet rounded. The Hessian of the layer's squared output error is H = X^T X / n, the same for every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnilmm_lite.errors import InputError
from quantize.cholesky import damped_cholesky
from quantize.grid import Grid, GridMethod, GridScheme, choose_grid
from quantize.weight import QuantizedWeight

BLOCK_COLUMNS = 128  # columns whose corrections to all later ones are applied in one matrix product
SUPPORTED_BITS = (4, 8)

Matrix = Tensor | NDArray[np.float32]


def quantize_weight(
    weight: Matrix,
    hessian: Matrix,
    *,
    bits: int = 4,
    group_size: int = 128,
    sym: bool = True,
    desc_act: bool = False,
    damp: float = 0.01,
    grid: GridMethod = GridMethod.MIN_MAX,
) -> QuantizedWeight:
    """Quantizes `weight` (out, in) so that the layer's output on the calibration inputs changes least.

    `hessian` (in, in) is X^T X at any positive scale. Both are float32, torch or numpy, and left untouched; the work
    is done on the weight's device. `group_size` columns share a grid, -1: the whole row does. `sym` fixes zero points
    in the middle. `desc_act` takes the columns in descending order of the Hessian's diagonal, on grids chosen
    beforehand from the original weight ("static groups"), so that groups stay contiguous. `damp` times the mean of
    the diagonal is added to the diagonal, and ten times more as often as the Hessian isn't positive definite.

    InputError where shapes or options don't fit each other or numbers aren't finite.
    """
    weight = torch.as_tensor(weight, dtype=torch.float32)
    hessian = torch.as_tensor(hessian, dtype=torch.float32, device=weight.device)
    _check(weight, hessian, bits, group_size, damp)
    columns = weight.shape[1]
    group_size = columns if group_size == -1 else group_size
    diagonal = hessian.diagonal()
    order = torch.arange(columns, device=weight.device)
    if desc_act:
        order = torch.argsort(diagonal, descending=True, stable=True)
    factor = inverse_factor(hessian, order, damp)  # (in, in)
    # What a column's rounding error costs once the later columns have made up for it as far as they can: the loss is
    # exactly the sum of squared errors with these weights. (The Hessian's own diagonal ignores the making up, and
    # measures worse, most of all in descending order, where late columns make up for nearly everything.)
    importance = torch.empty_like(diagonal)
    importance[order] = factor.diagonal() ** -2
    importance = importance.masked_fill(diagonal <= 0, 0.0)
    problem = _Problem(weight, factor, order, importance, group_size, static_groups=desc_act)
    rounding = problem.solve(GridScheme(bits, sym, GridMethod.MIN_MAX), weight)
    if grid is not GridMethod.MIN_MAX:
        # Static grids are searched for what the columns had become when their turn came, not for what they were.
        rounding = rounding.better_rows(problem.solve(GridScheme(bits, sym, grid), rounding.reached))
    return _to_numpy(rounding.codes, rounding.scale, rounding.zero, bits, group_size)


def proxy_loss(weight: Matrix, quantized: QuantizedWeight | Matrix, hessian: Matrix) -> float:
    """tr((W - Q) H (W - Q)^T): the squared output error that quantization adds, at the Hessian's scale."""
    approximation = quantized.dequantize() if isinstance(quantized, QuantizedWeight) else quantized
    weight = torch.as_tensor(weight, dtype=torch.float32)
    difference = weight - torch.as_tensor(approximation, dtype=torch.float32, device=weight.device)
    spread = difference @ torch.as_tensor(hessian, dtype=torch.float32, device=weight.device)  # (out, in)
    return float((spread * difference).sum(dtype=torch.float64))


def round_to_nearest(weight: Matrix, *, bits: int = 4, group_size: int = 128, sym: bool = True) -> QuantizedWeight:
    """Every weight to the nearest value of its group's min-max grid: what GPTQ is measured against."""
    weight = torch.as_tensor(weight, dtype=torch.float32)
    group_size = weight.shape[1] if group_size == -1 else group_size
    if bits not in SUPPORTED_BITS or weight.shape[1] % group_size:
        raise InputError(f"{bits} bits in groups of {group_size} don't fit a weight of shape {tuple(weight.shape)}")
    grouped = weight.reshape(-1, group_size)  # (out * groups, group_size)
    grid = choose_grid(grouped, torch.ones_like(grouped[:1]), GridScheme(bits, sym))
    codes = grid.encode(grouped).reshape(weight.shape)
    scale, zero = (part.reshape(len(weight), -1) for part in (grid.scale, grid.zero))  # (out, groups)
    return _to_numpy(codes.to(torch.uint8), scale, zero, bits, group_size)


def inverse_factor(hessian: Tensor, order: Tensor, damp: float) -> Tensor:
    """The upper triangular U of the damped, reordered Hessian's inverse, H^-1 = U^T U: float32 (in, in).

    With the columns in reverse order, H = L L^T has the factor U^-1 as L read backwards: one Cholesky and one
    triangular solve, without ever forming the inverse.
    """
    backwards = order.flip(0)
    lower = damped_cholesky(hessian[backwards][:, backwards], damp)
    identity = torch.eye(len(order), dtype=lower.dtype, device=hessian.device)
    inverse: Tensor = torch.linalg.solve_triangular(lower, identity, upper=False)
    return inverse.float().flip(0, 1)


@dataclass(frozen=True)
class _Rounding:
    """A whole weight, rounded."""

    codes: Tensor  # uint8 (out, in)
    scale: Tensor  # (out, groups)
    zero: Tensor  # (out, groups)
    reached: Tensor  # (out, in): what each column had become, by the corrections of others, when it was rounded
    loss: Tensor  # (out,): the squared output error, at the damped Hessian

    def better_rows(self, other: _Rounding) -> _Rounding:
        """Row by row the one of less loss: rows know nothing of each other."""
        wins = (other.loss < self.loss)[:, None]

        def pick(ours: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(wins, theirs, ours)

        return _Rounding(
            codes=pick(self.codes, other.codes),
            scale=pick(self.scale, other.scale),
            zero=pick(self.zero, other.zero),
            reached=pick(self.reached, other.reached),
            loss=torch.minimum(self.loss, other.loss),
        )


@dataclass(frozen=True)
class _Problem:
    """One weight, ready for the paper's algorithm."""

    weight: Tensor  # (out, in)
    factor: Tensor  # (in, in), from `inverse_factor`
    order: Tensor  # (in,): the columns in the order in which they are rounded
    importance: Tensor  # (in,), original order; zero for columns that no input used
    group_size: int
    static_groups: bool  # all grids are chosen beforehand, not when their group's first column is reached

    def solve(self, scheme: GridScheme, source: Tensor) -> _Rounding:
        """`source` (out, in) is what static grids are chosen for."""
        rows, columns = self.weight.shape
        work = self.weight.T[self.order].contiguous()  # (in, out): a column of the weight is a contiguous row here
        codes = torch.empty(columns, rows, dtype=torch.uint8, device=work.device)
        if self.static_groups:
            grids = self.choose_grids(source, 0, scheme)
        else:
            empty = torch.empty(columns // self.group_size, rows, device=work.device)
            grids = Grid(empty, empty.clone(), scheme.max_code)
        loss = torch.zeros(rows, device=work.device)
        places = self.order.tolist()
        for start, stop in _blocks(columns, self.group_size):
            errors = torch.empty(stop - start, rows, device=work.device)
            for column in range(start, stop):
                group = places[column] // self.group_size
                if not self.static_groups and column % self.group_size == 0:
                    chosen = self.choose_grids(work[column : column + self.group_size].T, column, scheme)
                    grids.scale[group], grids.zero[group] = chosen.scale[0], chosen.zero[0]
                grid = Grid(grids.scale[group], grids.zero[group], scheme.max_code)
                code = grid.encode(work[column])  # (out,)
                codes[places[column]] = code
                row = self.factor[column]
                error = (work[column] - grid.decode(code)) / row[column]
                work[column + 1 : stop].addr_(row[column + 1 : stop], error, alpha=-1)
                errors[column - start] = error
            loss += errors.square().sum(0)
            work[stop:].addmm_(self.factor[start:stop, stop:].T, errors, alpha=-1)
        reached = torch.empty_like(work)
        reached[self.order] = work
        return _Rounding(codes.T, grids.scale.T, grids.zero.T, reached.T, loss)

    def choose_grids(self, weight: Tensor, first: int, scheme: GridScheme) -> Grid:
        """For whole groups from column `first` on, (out, columns), a grid with scale and zero (groups, out).

        Columns that no input used (importance zero) have no say, but are rounded to the grid all the same.
        """
        importance = self.importance[first : first + weight.shape[1]]
        weight = weight.masked_fill(importance == 0, 0.0)
        grouped = weight.unflatten(1, (-1, self.group_size)).transpose(0, 1)  # (groups, out, group_size)
        importance = importance.reshape(-1, 1, self.group_size).expand_as(grouped)
        grid = choose_grid(grouped.flatten(0, 1), importance.flatten(0, 1), scheme)
        scale, zero = (part.reshape(-1, len(weight)) for part in (grid.scale, grid.zero))  # (groups, out)
        return Grid(scale, zero, grid.max_code)


def _blocks(columns: int, group_size: int) -> Iterator[tuple[int, int]]:
    """Runs of at most BLOCK_COLUMNS columns that cross into no other group in mid-group.

    When a group begins, its columns are then up to date: they lie in the block at hand, or the group begins with it.
    """
    if group_size <= BLOCK_COLUMNS:
        width = BLOCK_COLUMNS // group_size * group_size
        yield from ((start, min(start + width, columns)) for start in range(0, columns, width))
        return
    for group in range(0, columns, group_size):
        end = group + group_size
        yield from ((start, min(start + BLOCK_COLUMNS, end)) for start in range(group, end, BLOCK_COLUMNS))


def _to_numpy(codes: Tensor, scale: Tensor, zero: Tensor, bits: int, group_size: int) -> QuantizedWeight:
    return QuantizedWeight(
        codes=codes.contiguous().cpu().numpy(),
        scales=scale.contiguous().cpu().numpy(),
        zeros=zero.to(torch.uint8).contiguous().cpu().numpy(),
        bits=bits,
        group_size=group_size,
    )


def _check(weight: Tensor, hessian: Tensor, bits: int, group_size: int, damp: float) -> None:
    if weight.ndim != 2 or hessian.shape != (weight.shape[1], weight.shape[1]):
        shapes = f"{tuple(weight.shape)} and {tuple(hessian.shape)}"
        raise InputError(f"a weight (out, in) needs a Hessian (in, in), but their shapes are {shapes}")
    if bits not in SUPPORTED_BITS:
        raise InputError(f"bits must be one of {SUPPORTED_BITS}, not {bits}")
    if group_size != -1 and (group_size < 1 or weight.shape[1] % group_size):
        raise InputError(
            f"the weight has {weight.shape[1]} input columns, which groups of {group_size} don't divide: "
            "choose a group size that does, or -1 for whole rows"
        )
    if not 0 <= damp < float("inf"):
        raise InputError(f"damp must be zero or more, not {damp}")
    for name, matrix in (("weight", weight), ("Hessian", hessian)):
        if not bool(torch.isfinite(matrix).all()):
            raise InputError(f"the {name} holds NaN or infinity")
