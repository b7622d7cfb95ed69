"""Where a benchmark's pictures lie; each is read only when it is asked for."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.text_file import parse_object

MAX_PICTURE_BYTES = 1 << 29


@dataclass(frozen=True)
class FilePicture:
    """A file of its own."""

    path: Path

    @property
    def key(self) -> str:
        return str(self.path)

    def read(self) -> bytes:
        return read_part(self.path, 0, MAX_PICTURE_BYTES)


@dataclass(frozen=True)
class JsonLinePicture:
    """Base64 in a line of JSON."""

    path: Path
    start: int  # bytes
    length: int
    field: str

    @property
    def key(self) -> str:
        return f"{self.path}:{self.start}"

    def read(self) -> bytes:
        row = parse_object(read_part(self.path, self.start, self.length))
        value = None if row is None else row.get(self.field)
        if not isinstance(value, str):
            raise InputError(f"{self.path}: the picture at byte {self.start} is gone; has the file changed?")
        return decode_base64(value, f"{self.path}, byte {self.start}")


def read_part(path: Path, start: int, length: int) -> bytes:
    """`length` bytes from `start`, or to the file's end. InputError where they can't be read."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(f"{path}: the picture is no file; check the folder")
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)
    except OSError as error:
        raise InputError(f"{path}: the picture can't be read: {error.strerror}; check the folder") from error
    except ValueError:  # from the system's calls
        raise InputError(f"{str(path)!r}: the picture's name has a NUL; download the data again") from None


def decode_base64(text: str, place: str) -> bytes:
    """InputError, which starts with `place`, where it is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{place}: the picture is no base64; download the file again") from None
