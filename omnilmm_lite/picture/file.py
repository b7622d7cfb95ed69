"""A picture's file: found and read, not yet understood."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable

MAX_FILE_BYTES = 512 * 2**20
LONGEST_PATH = 4096  # characters; Linux takes as many bytes


@dataclass(frozen=True)
class PictureFile:
    """What it holds, and how errors name it."""

    data: bytes
    label: str = "picture"


def picture_file(source: str | Path | bytes | bytearray | memoryview) -> PictureFile:
    """The file at a path or a `file://` address, or its bytes as they are. A leading `~` is the home folder.

    InputError where it isn't there, is no regular file, can't be read, or has more than MAX_FILE_BYTES.
    """
    if isinstance(source, (str, Path)):
        path = _path(source)
        return PictureFile(_read(path), printable(str(path), None))
    file = PictureFile(bytes(source))
    _check_bytes(len(file.data), file.label)
    return file


def _path(source: str | Path) -> Path:
    text = str(source)
    label = printable(text, None)
    if not text:
        raise InputError("picture: the path is empty; name a picture file")
    if len(text) > LONGEST_PATH:
        raise InputError(f"{printable(text, 40)}: a path of {len(text)} characters can't be read; check its spelling")
    if text.lower().startswith(("http://", "https://")):
        raise InputError(f"{label}: pictures are not fetched from the network; download it and name the file")
    try:
        if text.lower().startswith("file://"):
            address = urlsplit(text)
            if address.netloc not in ("", "localhost"):
                raise InputError(f"{label}: the address names another machine; copy the picture here")
            return Path(url2pathname(address.path))
        return Path(text).expanduser()
    except (ValueError, RuntimeError):  # a malformed address, or `~` of a user that doesn't exist
        raise InputError(f"{label}: there is no such path; check its spelling") from None


def _read(path: Path) -> bytes:
    """The file's bytes. Only regular files: opening a pipe or a device could wait for ever."""
    label = printable(str(path), None)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{label}: this is a folder; name one picture file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{label}: this is not a regular file; save the picture to one")
        _check_bytes(status.st_size, label)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{label}: there is no such file; check the path") from None
    except PermissionError:
        raise InputError(f"{label}: no permission to read this file; change its rights or copy it") from None
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        raise InputError(f"{label}: this file can't be read; check the path and the disk") from None


def _check_bytes(size: int, label: str) -> None:
    if size > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES // 2**20
        raise InputError(f"{label}: the file has {size / 2**20:.0f} MiB, the limit is {limit} MiB; make it smaller")
