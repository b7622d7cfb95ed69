"""`embeddings.npy` of a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.embeddings import EmbeddingTable
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.BYTES
CONFIG = DecoderConfig(vocab_size=16, hidden_size=8)


def seeds() -> Iterator[bytes]:
    for dtype in (np.float16, np.float32):
        file = BytesIO()
        np.save(file, np.ones((CONFIG.vocab_size, CONFIG.hidden_size), dtype))
        yield file.getvalue()


def try_bytes(data: bytes) -> None:
    table = EmbeddingTable(written("embeddings.npy", data), CONFIG)
    assert table([0, CONFIG.vocab_size - 1]).shape == (2, CONFIG.hidden_size)
