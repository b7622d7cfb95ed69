"""Files that are either whole or not there, whenever the process is killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """`write` fills a file beside `path`, which takes its name once it's on disk; an interrupted one is overwritten."""
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


@contextmanager
def durable_folder(path: Path) -> Iterator[Path]:
    """Likewise for a folder: an empty one beside `path`, which takes its name at the end, or is gone after an error.

    `path` may be an empty folder; OSError where it is anything else.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
    partial.mkdir()
    try:
        yield partial
        for file in partial.iterdir():
            _sync(file)
        _sync(partial)
        if path.exists():
            path.rmdir()
        partial.rename(path)
        _sync(path.absolute().parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(data, indent=2, sort_keys=True) + "\n"
    write_durably(path, lambda partial: _write_text(partial, text))


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """A safetensors file, the same bytes for the same tensors."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # Loaders refuse files without this one key; the library writes further ones in no fixed order.
    write_durably(path, lambda partial: save_file(contiguous, partial, metadata={"format": "pt"}))


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system can do that, else a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
