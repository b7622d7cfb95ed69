"""Token embeddings, read from the checkpoint row by row as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, tensor


class CheckpointEmbeddings:
    """As `EmbeddingTable` for a checkpoint's own table, which is mapped."""

    def __init__(self, table: Tensor) -> None:
        """`table`: (vocab, hidden), of any float format."""
        self._table = table

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """float32 (tokens, hidden)."""
        rows: NDArray[np.float32] = self._table[tensor(list(ids))].float().numpy()
        return rows
