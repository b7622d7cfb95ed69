"""Writing safetensors files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from omnilmm_lite.files.checked_file import write_checksum
from omnilmm_lite.files.durable_file import write_durably


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """A safetensors file, the same bytes for the same tensors."""
    write_durably(path, lambda partial: _save(partial, tensors))


def write_checked_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """The same with a checksum beside it, for a run that goes on with it: see `omnilmm_lite.files.checked_file`."""

    def write(partial: Path) -> None:
        _save(partial, tensors)
        write_checksum(path, partial)

    write_durably(path, write)


def _save(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        # Loaders refuse files without this one key; the library writes further ones in no fixed order.
        save_file(contiguous, path, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk is an error of its own there, with the number in its text
        if (match := re.search(r"os error (\d+)", str(error))) is None:
            raise
        number = int(match[1])
        raise OSError(number, os.strerror(number), str(path)) from error
