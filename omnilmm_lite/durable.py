"""Files that are either whole or not there, whenever the process is killed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAITS_S = (0.1, 0.3, 1.0, 3.0, 10.0)  # between two tries to move a file, on Windows


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """`write` fills a file beside `path`, which takes its name once it's on disk; an interrupted one is overwritten."""
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    _sync(partial)
    move_into_place(partial, path)
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
        move_into_place(partial, path)
        _sync(path.absolute().parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_into_place(source: Path, path: Path) -> None:
    """Gives `source` its name; a file that has it already is replaced."""
    if sys.platform == "win32":  # where a virus scanner or an index may have what is new open for a moment
        for seconds in WAITS_S:
            try:
                source.replace(path)
                return
            except PermissionError:
                time.sleep(seconds)
    source.replace(path)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(data, indent=2, sort_keys=True) + "\n"
    write_durably(path, lambda partial: _write_text(partial, text))


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system can do that, else a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":  # opens no folder; NTFS keeps names in a journal of its own
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # Windows asks for the right to write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
