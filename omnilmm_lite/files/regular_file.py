"""Files that are files: opening a pipe may wait forever, and opening a device may do anything."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from omnilmm_lite.errors import InputError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path) -> os.stat_result:
    """What the system says of a file, for which links are followed. OSError where there is none, InputError where it is
    a folder, a pipe, a socket or a device: before anything opens it."""
    found = path.stat()
    _check(found, path)
    return found


def open_regular(path: Path) -> BinaryIO:
    """The file's bytes, for reading. Errors as of `check_regular`; also where it was replaced by a pipe meanwhile."""
    check_regular(path)
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  # for the caller
    try:
        _check(os.fstat(file.fileno()), path)
    except InputError:
        file.close()
        raise
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a file. Errors as of `check_regular`; InputError, too, where there are more than `limit`."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"{path} is larger than {limit >> 20} MB: that is no {path.name}")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    if sys.platform != "win32":
        flags |= os.O_NONBLOCK  # for a pipe that nobody writes to; with files it changes nothing
    return os.open(path, flags)


def _check(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise InputError(f"{path}: this is {kind}, where a file is needed; put the file there")
