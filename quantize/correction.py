"""Making a layer make up for what the quantized layers before it lost.

With X a layer's inputs behind quantized layers, Y its inputs in the original decoder, and R what the residual beside it
has lost: the weight whose outputs on X come closest to W Y + R is W + (W (Y - X) + R) X^T (X X^T)^-1. What is learned
so from few tokens may not hold for others; therefore the least squares problem is damped, and only the share of the
correction that proves true on sequences kept aside is applied.

Sources: Arai and Ichikawa 2025, "Quantization Error Propagation" (the closed form, a fixed share); Li et al. 2025,
"GPTAQ" (the same aim within GPTQ). The residual and the choice by held-out sequences are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantize.cholesky import damped_cholesky
from quantize.input_statistics import Drift, InputStatistics

DAMPINGS = (0.03, 0.3)  # of the mean diagonal


@dataclass(frozen=True)
class Correction:
    """How much of it is applied, and how strongly it's damped."""

    damping: float = DAMPINGS[0]
    share: float = 0.0
    gain: float = 0.0  # squared error that it takes away on the held-out sequences


def choose_correction(weight: Tensor, statistics: InputStatistics) -> Correction:
    """What does best on the held-out sequences; nothing where there are none."""
    best = Correction()
    if not statistics.held_out:
        return best
    lost = statistics.moments.lost(weight)
    for damping in DAMPINGS:
        step = _solve(statistics.moments.hessian, lost, damping)
        candidate = _best_share(weight, step, damping, statistics.held_out)
        if candidate.gain > best.gain:
            best = candidate
    return best


def apply_correction(weight: Tensor, statistics: InputStatistics, correction: Correction) -> Tensor:
    """The weight to be approximated: (out, in) -> (out, in)."""
    if correction.share == 0:
        return weight
    step = _solve(statistics.moments.hessian, statistics.moments.lost(weight), correction.damping)
    return weight + correction.share * step


def _solve(hessian: Tensor, lost: Tensor, damping: float) -> Tensor:
    """`lost` (out, in) times the damped Hessian's inverse."""
    lower = damped_cholesky(hessian, damping)
    return torch.cholesky_solve(lost.T.to(lower.dtype), lower).T.float()


def _best_share(weight: Tensor, step: Tensor, damping: float, held_out: Sequence[Drift]) -> Correction:
    """The error with a share s of the step is |lost - s X step^T|^2: a parabola in s, minimal at along / size."""
    along = size = 0.0
    for drift in held_out:
        moved = drift.inputs @ step.T  # (tokens, out)
        weighted = moved * drift.weights[:, None]
        along += float((weighted * drift.lost(weight)).sum(dtype=torch.float64))
        size += float((weighted * moved).sum(dtype=torch.float64))
    share = min(max(along / size, 0.0), 1.0) if size > 0 else 0.0
    return Correction(damping, share, share * (2 * along - share * size))
