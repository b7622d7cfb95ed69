"""Files that are either whole or not there, whenever the process is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNFINISHED = re.compile(r"\.\d+-[0-9a-f]{16}\.partial")  # the names that `_new_file` gives
WAITS_S = (0.1, 0.3, 1.0, 3.0, 10.0)  # between two tries to move a file, on Windows


def write_durably(path: Path, write: Callable[[Path], object], *, mode: int = 0o666) -> None:
    """`write` fills an empty file beside `path`, which takes the name `path` once it is on the disk.

    A file of that name is replaced, a link too rather than what it leads to. After an error everything is as before.
    `mode`: the new file's rights, from which the system takes those of the umask.
    """
    partial = _new_file(path.parent, mode)
    try:
        with named_in_errors(path, partial):
            write(partial)
            _sync(partial)
            move_into_place(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()  # gone already where all went well
    with contextlib.suppress(PermissionError):  # a folder that may be written to, but not read
        _sync(path.parent)


@contextmanager
def named_in_errors(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Errors in the block that name no file, as a full disk's don't, or `partial`, which nobody knows, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None or error.filename == str(partial) or error.filename == partial:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """`write_durably` for a text as UTF-8, where half a surrogate pair becomes a question mark."""
    data = text.encode(errors="replace")
    write_durably(path, lambda partial: partial.write_bytes(data), mode=mode)


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


def remove_unfinished(folder: Path) -> None:
    """Removes what `write_durably` left in `folder` and below where it was killed. For who has the folder alone."""
    for path in folder.rglob(".*.partial"):
        if UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


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
    """`write_durably` for JSON: indented, and the same bytes for the same data."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True) + "\n")


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system can do that, else a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _new_file(folder: Path, mode: int) -> Path:
    """An empty file that was not there before; its name is short, since `path`'s own may be as long as one can be."""
    path = folder / f".{os.getpid()}-{secrets.token_hex(8)}.partial"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return path


def _sync(path: Path) -> None:
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":  # opens no folder; NTFS keeps names in a journal of its own
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # Windows asks for the right to write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
