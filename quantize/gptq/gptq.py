"""GPTQ for one weight: Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate Post-Training Quantization".

Columns are rounded one after another; what a column's rounding does to the layer's output is made up for by the columns
not yet rounded. The Hessian of the layer's squared output error is H = X^T X / n, the same for every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.weights.pairs import within_pair
from export.weights.weight import QuantizedWeight
from omnilmm_lite.errors import InputError
from quantize.gptq.cholesky import damped_cholesky, factoring_dtype, invert_triangle
from quantize.gptq.grid import Grid, GridMethod, GridScheme, choose_grid

LEAF_COLUMNS = 8  # corrected one by one; between longer runs of columns, by matrix products
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
    limit_pairs: bool = False,
) -> QuantizedWeight:
    """Quantizes `weight` (out, in) so that the layer's output on the calibration inputs changes least.

    `hessian` (in, in) is X^T X at any positive scale. Both are float32, torch or numpy, and left untouched; the work
    is done on the weight's device. `group_size` columns share a grid, -1: the whole row does. `sym` fixes zero points
    in the middle. `desc_act` takes the columns in descending order of the Hessian's diagonal, on grids chosen
    beforehand from the original weight ("static groups"), so that groups stay contiguous. `damp` times the mean of
    the diagonal is added to the diagonal, and ten times more as often as the Hessian isn't positive definite.
    `limit_pairs`: 8-bit codes that int8 products sum exactly on every processor, see `export.weights.pairs`.

    InputError where shapes or options don't fit each other or numbers aren't finite.
    """
    weight = torch.as_tensor(weight, dtype=torch.float32)
    hessian = torch.as_tensor(hessian, dtype=torch.float32, device=weight.device)
    columns = Columns.of(hessian, desc_act=desc_act, damp=damp)
    return columns.quantize(weight, bits, group_size, sym=sym, grid=grid, limit_pairs=limit_pairs)


@dataclass(frozen=True)
class Columns:
    """The input columns of weights that see the same inputs, prepared once for all of them."""

    order: Tensor  # (in,): in which they are rounded
    factor: Tensor  # (in, in), from `inverse_factor`
    importance: Tensor  # (in,), original order; zero for columns that no input used
    static_groups: bool  # grids are chosen beforehand, not when their group's first column is reached

    @classmethod
    def of(cls, hessian: Tensor, *, desc_act: bool, damp: float) -> Columns:
        """`hessian` float32 (in, in); `quantize_weight` says the rest."""
        _check_hessian(hessian, damp)
        diagonal = hessian.diagonal()
        order = torch.arange(len(diagonal), device=hessian.device)
        if desc_act:
            order = torch.argsort(diagonal, descending=True, stable=True)
        factor = inverse_factor(hessian, order, damp)
        # What a column's rounding error costs once the later columns have made up for it as far as they can: the loss
        # is exactly the sum of squared errors with these weights. (The Hessian's own diagonal ignores the making up,
        # and measures worse, most of all in descending order, where late columns make up for nearly everything.)
        importance = torch.empty_like(diagonal)
        importance[order] = factor.diagonal() ** -2
        return cls(order, factor, importance.masked_fill(diagonal <= 0, 0.0), static_groups=desc_act)

    def quantize(
        self,
        weight: Tensor,
        bits: int,
        group_size: int,
        *,
        sym: bool,
        grid: GridMethod,
        limit_pairs: bool = False,
    ) -> QuantizedWeight:
        """One of the weights, float32 (out, in) on the same device."""
        _check_weight(weight, len(self.order), bits, group_size)
        if limit_pairs and not (bits == 8 and sym and group_size == -1 and grid is GridMethod.MIN_MAX):
            raise InputError("limit_pairs is for 8 bits in whole rows, symmetric, on min-max grids")
        group_size = weight.shape[1] if group_size == -1 else group_size
        problem = _Problem(weight, self, group_size)
        rounding = problem.solve(GridScheme(bits, sym, GridMethod.MIN_MAX, limit_pairs), weight)
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

    With the columns in reverse order, H = L L^T has the factor U^-1 as L read backwards: a Cholesky and the inverse of
    a triangle, without ever forming the Hessian's.
    """
    backwards = order.flip(0)
    lower = damped_cholesky(hessian[backwards][:, backwards].to(factoring_dtype(len(hessian))), damp)
    invert_triangle(lower)
    return lower.float().flip(0, 1)


@dataclass(frozen=True)
class _Rounding:
    """A whole weight after rounding."""

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
    columns: Columns
    group_size: int

    def solve(self, scheme: GridScheme, source: Tensor) -> _Rounding:
        """Rounds the weight column by column. `source` (out, in) is what static grids are chosen for."""
        rows, columns = self.weight.shape
        order, device = self.columns.order, self.weight.device
        if self.columns.static_groups:
            grids = self.choose_grids(source, 0, scheme)
        else:
            empty = torch.empty(columns // self.group_size, rows, device=device)
            grids = Grid(empty, empty.clone(), scheme.max_code)
        unfinished = _Unfinished(
            work=self.weight.T[order].contiguous(),  # a column of the weight is a contiguous row here
            errors=torch.empty(columns, rows, device=device),
            steps=torch.zeros(columns, rows, device=device),
            grids=grids,
            lowest=-grids.zero,
            highest=grids.max_code - grids.zero,
            places=order.tolist(),
        )
        self._round(unfinished, scheme, 0, columns)
        by_group = unfinished.steps.unflatten(0, (-1, self.group_size))  # (groups, group_size, out)
        codes = by_group.add_(grids.zero[:, None]).to(torch.uint8).flatten(0, 1)  # (in, out)
        reached = torch.empty_like(unfinished.work)
        reached[order] = unfinished.work
        loss = unfinished.errors.square_().sum(0)
        return _Rounding(codes.T, grids.scale.T, grids.zero.T, reached.T, loss)

    def _round(self, unfinished: _Unfinished, scheme: GridScheme, start: int, stop: int) -> None:
        """Columns `start` to `stop`, which all earlier ones have corrected: first one half, then the other."""
        if stop - start <= LEAF_COLUMNS:
            for column in range(start, stop):
                self._round_column(unfinished, scheme, column, stop)
            return
        middle = _middle(start, stop, self.group_size)
        self._round(unfinished, scheme, start, middle)
        unfinished.work[middle:stop].addmm_(
            self.columns.factor[start:middle, middle:stop].T, unfinished.errors[start:middle], alpha=-1
        )
        self._round(unfinished, scheme, middle, stop)

    def _round_column(self, unfinished: _Unfinished, scheme: GridScheme, column: int, stop: int) -> None:
        """One column, and its corrections to those after it as far as `stop`."""
        work, grids, place = unfinished.work, unfinished.grids, unfinished.places[column]
        group = place // self.group_size
        if not self.columns.static_groups and column % self.group_size == 0:
            chosen = self.choose_grids(work[column : column + self.group_size].T, column, scheme)
            grids.scale[group], grids.zero[group] = chosen.scale[0], chosen.zero[0]
            unfinished.lowest[group] = -chosen.zero[0]
            unfinished.highest[group] = scheme.max_code - chosen.zero[0]
        # `Grid.encode` and `decode`, with the zero point left out of both: this runs for each column of each weight,
        # and on a card every operator costs as much as another.
        scale, steps = grids.scale[group], unfinished.steps[place]  # (out,)
        nearest = torch.div(work[column], scale).round_()
        torch.clamp(nearest, unfinished.lowest[group], unfinished.highest[group], out=steps)
        if scheme.limit_pairs and place ^ 1 < len(unfinished.steps):
            steps.copy_(within_pair(steps, unfinished.steps[place ^ 1]))
        row = self.columns.factor[column]
        error = torch.div(work[column] - steps * scale, row[column], out=unfinished.errors[column])
        work[column + 1 : stop].addr_(row[column + 1 : stop], error, alpha=-1)

    def choose_grids(self, weight: Tensor, first: int, scheme: GridScheme) -> Grid:
        """For whole groups from column `first` on, (out, columns), a grid with scale and zero (groups, out).

        Columns that no input used (importance zero) have no say, but are rounded to the grid all the same.
        """
        importance = self.columns.importance[first : first + weight.shape[1]]
        weight = weight.masked_fill(importance == 0, 0.0)
        grouped = weight.unflatten(1, (-1, self.group_size)).transpose(0, 1)  # (groups, out, group_size)
        importance = importance.reshape(-1, 1, self.group_size).expand_as(grouped)
        grid = choose_grid(grouped.flatten(0, 1), importance.flatten(0, 1), scheme)
        scale, zero = (part.reshape(-1, len(weight)) for part in (grid.scale, grid.zero))  # (groups, out)
        return Grid(scale, zero, grid.max_code)


@dataclass(frozen=True)
class _Unfinished:
    """What is filled in, column by column in the order of rounding; `steps` in the original one."""

    work: Tensor  # (in, out): what the columns have become
    errors: Tensor  # (in, out): each one's rounding error over its factor's diagonal
    steps: Tensor  # (in, out): codes less their zero points, whole numbers; zero where a column isn't rounded yet
    grids: Grid  # (groups, out)
    lowest: Tensor  # (groups, out): the least that a step may be
    highest: Tensor
    places: Sequence[int]  # where each column stands in the weight


def _middle(start: int, stop: int, group_size: int) -> int:
    """Where to part columns: between groups where there are several, since a grid that is chosen when its group's first
    column is reached needs them all corrected."""
    groups = (stop - start) // group_size
    return start + (groups // 2 * group_size if groups > 1 else (stop - start) // 2)


def _to_numpy(codes: Tensor, scale: Tensor, zero: Tensor, bits: int, group_size: int) -> QuantizedWeight:
    return QuantizedWeight(
        codes=codes.contiguous().cpu().numpy(),
        scales=scale.contiguous().cpu().numpy(),
        zeros=zero.to(torch.uint8).contiguous().cpu().numpy(),
        bits=bits,
        group_size=group_size,
    )


def _check_hessian(hessian: Tensor, damp: float) -> None:
    if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1]:
        raise InputError(f"a Hessian is square, (in, in), but this one's shape is {tuple(hessian.shape)}")
    if not 0 <= damp < float("inf"):
        raise InputError(f"damp must be zero or more, not {damp}")
    _check_finite("Hessian", hessian)


def _check_weight(weight: Tensor, columns: int, bits: int, group_size: int) -> None:
    if weight.ndim != 2 or weight.shape[1] != columns:
        raise InputError(f"a Hessian of {columns} columns needs a weight (out, {columns}), not {tuple(weight.shape)}")
    if bits not in SUPPORTED_BITS:
        raise InputError(f"bits must be one of {SUPPORTED_BITS}, not {bits}")
    if group_size != -1 and (group_size < 1 or columns % group_size):
        raise InputError(
            f"the weight has {columns} input columns, which groups of {group_size} don't divide: "
            "choose a group size that does, or -1 for whole rows"
        )
    _check_finite("weight", weight)


def _check_finite(name: str, matrix: Tensor) -> None:
    if not bool(torch.isfinite(matrix).all()):
        raise InputError(f"the {name} holds NaN or infinity")
