"""Making a layer make up for what the quantized layers before it lost.

With X a layer's inputs behind quantized layers, Y its inputs in the original decoder, and R what the residual beside it
has lost: the weight whose outputs on X come closest to W Y + R is W + (W (Y - X) + R) X^T (X X^T)^-1. What is learned
so from few tokens may not hold for others; therefore the least squares problem is damped, and only the share of the
correction that proves true on sequences kept aside is applied.

Sources: Arai and Ichikawa 2025, "Quantization Error Propagation" (the closed form, a fixed share); Li et al. 2025,
"GPTAQ" (the same aim within GPTQ). The residual and the choice by held-out sequences are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantize.decoder.input_statistics import Drift, InputStatistics
from quantize.gptq.cholesky import damped_cholesky, factoring_dtype

DAMPINGS = (0.03, 0.3)  # of the mean diagonal


@dataclass(frozen=True)
class Corrected:
    """A weight (out, in) that makes up for what was lost."""

    weight: Tensor
    share: float = 0.0  # of the step that least squares would make
    gain: float = 0.0  # squared error that it takes away on the held-out sequences


def correct_weights(weights: Sequence[Tensor], statistics: InputStatistics) -> list[Corrected]:
    """Weights (out, in) of the same inputs, each with the correction that does best on the held-out sequences.

    Without such sequences they stay as they are. Takes what was lost out of `statistics`.
    """
    best = [Corrected(weight) for weight in weights]
    if not statistics.held_out:
        return best
    lost = statistics.moments.take_lost(weights)
    hessian = statistics.moments.hessian()
    for damping in DAMPINGS:
        steps = solve_damped(hessian, lost, damping)
        for index, (weight, step) in enumerate(zip(weights, steps, strict=True)):
            share, gain = _best_share(weight, step, statistics.held_out)
            if gain > best[index].gain:
                best[index] = Corrected(step.mul_(share).add_(weight), share, gain)
    return best


def solve_damped(hessian: Tensor, lost: Sequence[Tensor], damping: float) -> Iterator[Tensor]:
    """`lost` @ inverse(`hessian` + damping), for each of `lost`, float32 (out, in)."""
    # The factor is float64 where that's affordable. Solving in float32 put a step off by 2e-4 at most.
    matrix = hessian.to(factoring_dtype(len(hessian)), copy=True)
    lower = damped_cholesky(matrix, damping).float()
    del matrix
    for each in lost:
        yield torch.cholesky_solve(each.T, lower).T


def _best_share(weight: Tensor, step: Tensor, held_out: Sequence[Drift]) -> tuple[float, float]:
    """Share and gain. The error with a share s is |lost - s X step^T|^2: a parabola in s, minimal at along / size."""
    along = size = 0.0
    for drift in held_out:
        moved = drift.inputs @ step.T  # (tokens, out)
        weighted = moved * drift.weights[:, None]
        along += float((weighted * drift.lost(weight)).sum(dtype=torch.float64))
        size += float((weighted * moved).sum(dtype=torch.float64))
    share = min(max(along / size, 0.0), 1.0) if size > 0 else 0.0
    return share, share * (2 * along - share * size)
