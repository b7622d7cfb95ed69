"""The Hessian of a linear layer's squared output error, gathered from its inputs."""

from __future__ import annotations

import torch
from torch import Tensor


class Hessian:
    """Accumulates X^T W X over calibration inputs, float32 (in, in), with a weight for each token."""

    def __init__(self, columns: int, device: torch.device | None = None) -> None:
        self._sum = torch.zeros(columns, columns, device=device)
        self._weight = 0.0

    def add(self, inputs: Tensor, weights: Tensor) -> None:
        """`inputs` (tokens, in), `weights` (tokens,), not negative."""
        inputs = inputs.float()
        self._sum.addmm_((inputs * weights[:, None]).T, inputs)
        self._weight += float(weights.sum())

    def mean(self) -> Tensor:
        """The sum over the total weight: (in, in). Hands the matrix over: nothing may be added afterwards."""
        return self._sum.div_(max(self._weight, torch.finfo(torch.float32).tiny))
