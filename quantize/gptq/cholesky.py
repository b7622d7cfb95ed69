"""The Cholesky factor of a Hessian, damped as much as it takes, and its inverse."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from omnilmm_lite.errors import InputError

# Wider Hessians would need many gigabytes in float64; up to here it costs seconds.
FLOAT64_COLUMNS = 8192
# A Hessian that isn't positive definite is damped this much more at each try, from at least the first value on.
DAMPING_STEP = 10.0
DAMPING_FLOOR = 1e-4
DAMPING_TRIES = 10
INVERTED_AT_ONCE = 1024  # columns of a triangle

logger = logging.getLogger(__name__)


def factoring_dtype(columns: int) -> torch.dtype:
    """The dtype that a Hessian of so many columns is factored in."""
    return torch.float64 if columns <= FLOAT64_COLUMNS else torch.float32


def damped_cholesky(matrix: Tensor, damp: float) -> Tensor:
    """Lower triangular L with L L^T = the Hessian `matrix` plus `damp` times its mean diagonal, in its dtype.

    Changes `matrix`, as a copy may be a gigabyte. Inputs that were always zero get the mean diagonal: their columns
    affect no others. InputError where no damping makes it positive definite.
    """
    diagonal = matrix.diagonal()
    dead = diagonal <= 0
    living = diagonal[~dead]
    mean = living.mean().item() if len(living) else 1.0
    diagonal[dead] = mean
    diagonal += damp * mean
    for _ in range(DAMPING_TRIES):
        lower: Tensor
        lower, info = torch.linalg.cholesky_ex(matrix)
        if not info.item() and bool(torch.isfinite(lower.diagonal()).all()):
            return lower
        more = max(damp * DAMPING_STEP, DAMPING_FLOOR)
        diagonal += (more - damp) * mean
        damp = more
        logger.warning("the Hessian isn't positive definite: damping raised to %g", damp)
    raise InputError(f"the Hessian isn't positive definite, even when damped by {damp:g} times its mean diagonal")


def invert_triangle(lower: Tensor) -> None:
    """Puts the inverse of a lower triangular matrix (n, n) in its place; above the diagonal it must be zero.

    By halves, which takes n^3 / 3 operations, against n^3 to solve for the identity, and hardly any memory:
    [[A, 0], [B, C]] has the inverse [[A^-1, 0], [-C^-1 B A^-1, C^-1]].
    """
    half = len(lower) // 2
    if len(lower) <= INVERTED_AT_ONCE:
        identity = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        lower.copy_(torch.linalg.solve_triangular(lower, identity, upper=False))
        return
    first, across, second = lower[:half, :half], lower[half:, :half], lower[half:, half:]
    across.copy_(torch.linalg.solve_triangular(second, across, upper=False))
    across.copy_(torch.linalg.solve_triangular(first, across, upper=False, left=False)).neg_()
    invert_triangle(first)
    invert_triangle(second)
