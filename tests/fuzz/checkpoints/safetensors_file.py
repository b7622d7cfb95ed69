"""A checkpoint's safetensors file, its tensors too."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from safetensors.torch import save

from export.checkpoint.tensor_file import open_tensor_file
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.TENSORS


def seeds() -> Iterator[bytes]:
    tensors = {"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.ones(0, 5).half()}
    yield save(tensors, {"format": "pt"})


def try_bytes(data: bytes) -> None:
    file = open_tensor_file(written("model.safetensors", data))
    for name, shape in file.shapes.items():
        assert tuple(file.tensor(name).shape) == shape
