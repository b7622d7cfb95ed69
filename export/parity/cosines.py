"""How far a quantized tower's tokens are from the original's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Cosines:
    """Cosine similarity of two towers' tokens, over one picture: 1 where they point the same way."""

    mean_cosine: float
    worst_cosine: float

    @classmethod
    def between(cls, found: Tensor, exact: Tensor) -> Cosines:
        """Both float32 (..., tokens, hidden); token by token."""
        cosines = F.cosine_similarity(found, exact, dim=-1)
        return cls(float(cosines.mean(dtype=torch.float64)), float(cosines.min()))
