"""Writing safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from omnilmm_lite.files.durable_file import write_durably


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """A safetensors file, the same bytes for the same tensors."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # Loaders refuse files without this one key; the library writes further ones in no fixed order.
    write_durably(path, lambda partial: save_file(contiguous, partial, metadata={"format": "pt"}))
