"""Files wherever fsspec finds them: on a disk, or behind s3://, gs://, hf://."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.durable_file import write_durably
from omnilmm_lite.files.printable import printable

_VERSIONS = ("ETag", "etag", "md5Hash", "blob_id", "sha256")  # what changes with a file, as stores name it


@dataclass(frozen=True)
class Found:
    """A file below a place: its path there (posix), and what changes when it does."""

    path: str
    version: str


class Store:
    """A place: a folder, or a file. Made anew in every process, as connections can't be sent."""

    def __init__(self, place: str) -> None:
        """InputError where fsspec has no such protocol, or its package isn't installed."""
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]

            self._files, self._root = url_to_fs(place)
        except (ImportError, ValueError) as error:
            raise InputError(f"{printable(place, None)}: {error}") from None
        self.place = place

    @property
    def is_local(self) -> bool:
        return "://" not in self.place or self.place.startswith("file://")

    @property
    def root(self) -> str:
        """Without the protocol."""
        return str(self._root)

    def is_folder(self) -> bool:
        return bool(self._told(lambda: self._files.isdir(self._root)))

    def is_file(self) -> bool:
        return bool(self._told(lambda: self._files.isfile(self._root)))

    def find(self) -> Iterator[Found]:
        """All files below, sorted by path; hidden ones and those of hidden folders left out."""
        files: Mapping[str, Mapping[str, Any]] = self._told(lambda: self._files.find(self._root, detail=True))
        for full in sorted(files):
            path = posixpath.relpath(full, self._root)
            if not any(part.startswith(".") for part in path.split("/")):
                yield Found(path, _version(files[full]))

    def version(self) -> str:
        """Of the file that the place is."""
        return _version(self._told(lambda: self._files.info(self._root)))

    def read(self, path: str = "") -> bytes:
        """FileNotFoundError or another OSError where that can't be."""
        data: bytes = self._files.cat_file(self._full(path))
        return data

    def open(self, path: str = "") -> Any:
        """For reading, binary."""
        return self._files.open(self._full(path), "rb")

    def write(self, path: str, data: bytes) -> None:
        """All of it or nothing, a file of that name replaced."""
        full = self._full(path)
        if self.is_local:
            Path(full).parent.mkdir(parents=True, exist_ok=True)
            write_durably(Path(full), lambda partial: partial.write_bytes(data))
        else:
            self._told(lambda: self._files.pipe_file(full, data))  # an object appears as a whole

    def remove(self, path: str) -> None:
        self._told(lambda: self._files.rm_file(self._full(path)))

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def _told(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:  # each store has errors of its own
            why = str(error) or type(error).__name__
            raise OmniLMMError(f"{printable(self.place, None)}: it can't be reached: {why}") from None


def _version(info: Mapping[str, Any]) -> str:
    for name in _VERSIONS:
        if info.get(name):
            return str(info[name]).strip('"')
    return f"{info.get('size')}-{info.get('mtime') or info.get('LastModified') or info.get('updated')}"
