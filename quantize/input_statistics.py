"""What calibration tells about a stage's inputs: how much they vary, and how far they drifted from the original's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantize.stages import Passage

HELD_OUT = 8  # sequences at most, and no more than one of as many


@dataclass(frozen=True)
class Drift:
    """Some tokens at a stage, behind quantized layers and in the original decoder."""

    inputs: Tensor  # X: (tokens, in)
    change: Tensor  # Y - X, with Y the original's inputs: (tokens, in)
    residual: Tensor | None  # what the residual, which the stage's output is added to, has lost: (tokens, out)
    weights: Tensor  # (tokens,): how much each token counts

    @classmethod
    def between(cls, found: Passage, expected: Passage, weights: Tensor) -> Drift:
        residual = None
        if found.residual is not None and expected.residual is not None:
            residual = expected.residual - found.residual
        return cls(found.inputs, expected.inputs - found.inputs, residual, weights.to(found.inputs.device))

    def lost(self, weight: Tensor) -> Tensor:
        """What the original puts out here and `weight` (out, in) doesn't: (tokens, out)."""
        lost = self.change @ weight.T
        return lost if self.residual is None else lost.add_(self.residual)


class Moments:
    """Weighted sums over tokens."""

    def __init__(self) -> None:
        self.tokens = 0.0  # their weights
        self._hessian: Tensor | None = None  # X^T X: (in, in)
        self._change: Tensor | None = None  # (Y - X)^T X: (in, in)
        self._residual: Tensor | None = None  # (out, in)

    def add(self, drift: Drift) -> None:
        weighted = drift.inputs * drift.weights[:, None]
        self.tokens += float(drift.weights.sum())
        self._hessian = _add_product(self._hessian, drift.inputs, weighted)
        self._change = _add_product(self._change, drift.change, weighted)
        if drift.residual is not None:
            self._residual = _add_product(self._residual, drift.residual, weighted)

    @property
    def hessian(self) -> Tensor:
        if self._hessian is None:
            raise ValueError("no tokens")
        return self._hessian

    def lost(self, weight: Tensor) -> Tensor:
        """(what the original puts out and `weight` doesn't)^T X: (out, in)."""
        if self._change is None:
            raise ValueError("no tokens")
        lost = weight @ self._change
        return lost if self._residual is None else lost.add_(self._residual)


@dataclass(frozen=True)
class InputStatistics:
    """Moments of most sequences, and a few sequences kept aside to see whether what was learned from those holds."""

    moments: Moments
    held_out: Sequence[Drift]

    @classmethod
    def gather(
        cls, found: Iterable[Passage], expected: Iterable[Passage], weights: Sequence[Tensor]
    ) -> InputStatistics:
        """`found`, `expected`: the sequences behind quantized layers and in the original; `weights` (tokens,) each."""
        period = max(min(HELD_OUT, len(weights)), len(weights) // HELD_OUT)
        moments, held_out = Moments(), []
        for index, (passage, original, weight) in enumerate(zip(found, expected, weights, strict=True)):
            drift = Drift.between(passage, original, weight)
            if period > 1 and index % period == period - 1:
                held_out.append(drift)
            else:
                moments.add(drift)
        return cls(moments, held_out)

    def whole_hessian(self) -> Tensor:
        """X^T X over all sequences, divided by the tokens' weights. Hands the sum over: nothing else may follow."""
        hessian, tokens = self.moments.hessian, self.moments.tokens
        for drift in self.held_out:
            hessian.addmm_(drift.inputs.T, drift.inputs * drift.weights[:, None])
            tokens += float(drift.weights.sum())
        return hessian.div_(max(tokens, torch.finfo(torch.float32).tiny))


def _add_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """total + A^T B, in place where there is a total: (tokens, rows), (tokens, columns) -> (rows, columns)."""
    return a.T @ b if total is None else total.addmm_(a.T, b)
