"""The table of embeddings: a row a token, from a file that has to be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.errors import InputError

TABLE = DecoderConfig(vocab_size=4, hidden_size=3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_of_the_table_are_the_tokens_embeddings(tmp_path: Path, dtype: type[np.floating[Any]]) -> None:
    values = (np.arange(12) / 8).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "table.npy", values)
    rows = EmbeddingTable(tmp_path / "table.npy", TABLE)([3, 0, 3])
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, values[[3, 0, 3]].astype(np.float32))


def test_what_is_no_such_table_is_refused(tmp_path: Path, tiny_bundle: Path) -> None:
    path = tmp_path / "table.npy"
    for array in (np.zeros((4, 4), np.float32), np.zeros((4, 3)), np.zeros((4, 3), ">f4"), np.zeros(12, np.float16)):
        np.save(path, array)
        with pytest.raises(InputError, match=r"expected a float table of shape \(4, 3\)"):
            EmbeddingTable(path, TABLE)
    np.save(path, np.asarray([{"a": 1}], dtype=object), allow_pickle=True)
    npz = tmp_path / "table.npz"
    np.savez(npz, values=np.zeros((4, 3), np.float32))
    (tmp_path / "empty.npy").touch()
    whole = tmp_path / "whole.npy"
    np.save(whole, np.zeros((4, 3), np.float32))
    odd = tmp_path / "odd.npy"  # whose header is half a tuple
    odd.write_bytes(whole.read_bytes().replace(b"(4, 3), }", b"(4, (3, }"))
    for broken in (path, npz, odd, tmp_path / "empty.npy", tmp_path / "missing.npy", tiny_bundle / "manifest.json"):
        with pytest.raises(InputError, match="this is not a numpy array"):
            EmbeddingTable(broken, TABLE)
