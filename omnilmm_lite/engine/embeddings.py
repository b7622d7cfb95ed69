"""Token embeddings, kept on the host: a memory-mapped table of which each token reads one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.regular_file import check_regular


class EmbeddingTable:
    """Rows are read from the file as they are asked for, and kept by nobody but the system's page cache."""

    def __init__(self, path: Path, config: DecoderConfig) -> None:
        """`path`: a .npy file, float16 or float32 (vocab, hidden). InputError where it is anything else."""
        try:
            check_regular(path)
            table = np.lib.format.open_memmap(path, mode="r")
        except Exception:  # the header is Python's own syntax: numpy raises whatever its parser does
            raise InputError(f"{path}: this is not a numpy array; copy the bundle again") from None
        if table.shape != (config.vocab_size, config.hidden_size) or table.dtype not in (np.float16, np.float32):
            expected = (config.vocab_size, config.hidden_size)
            raise InputError(f"{path}: expected a float table of shape {expected}, found {table.dtype} {table.shape}")
        self._table = table

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """float32 (tokens, hidden). InputError where the table has no row for an id."""
        numbers = np.asarray(ids, dtype=np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self._table):
            raise InputError(
                f"the tokenizer gives the ids {numbers.min()} to {numbers.max()}, and the table of embeddings has "
                f"{len(self._table)} rows: they belong to different models; convert the checkpoint again"
            )
        rows: NDArray[np.float32] = self._table[numbers].astype(np.float32)
        return rows
