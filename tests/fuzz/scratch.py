"""A folder for the files that parsers want to open, which goes when the process does."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

VARIABLE = "OMNILMM_FUZZ_SCRATCH"
IN_MEMORY = Path("/dev/shm")  # opening a file may take milliseconds on a disk


def new_scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="omnilmm-fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))


@cache
def scratch() -> Path:
    """That of a variable, whose maker removes it, or one of this process."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    folder = new_scratch()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written(name: str, data: bytes) -> Path:
    """A file of that name below `scratch()`, with its folder."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
