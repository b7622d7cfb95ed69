"""How far a quantized tower's tokens are from the original's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Cosines:
    """Between the tokens of two towers, over one picture."""

    mean_cosine: float
    worst_cosine: float

    @classmethod
    def between(cls, found: Tensor, exact: Tensor) -> Cosines:
        """Both (..., tokens, hidden)."""
        cosines = F.cosine_similarity(found, exact, dim=-1)
        return cls(float(cosines.mean(dtype=torch.float64)), float(cosines.min()))
