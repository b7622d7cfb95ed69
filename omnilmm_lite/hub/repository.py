"""What a model's files are asked of: a hub, a mirror or a folder, which all answer the same questions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from omnilmm_lite.errors import InputError
from omnilmm_lite.hub.http import CHUNK, Body, HttpClient
from omnilmm_lite.hub.remote_file import RemoteFile

SMALL_FILE = 64 << 20  # bytes: of an index or a manifest, more than any has


class Repository(Protocol):
    """A model's files in one version. All may raise HttpError."""

    @property
    def origin(self) -> str:
        """Where it is from, for people and records: host, name, and what tells the version."""

    def find(self, path: str) -> RemoteFile | None:
        """The file, or None where there is none. InputError for an announcement that can't be."""

    def read(self, path: str) -> bytes:
        """A small file's bytes."""

    def open(self, file: RemoteFile, start: int) -> AbstractContextManager[Body]:
        """The file's bytes from `start` on, or from its beginning, as `Body.start` says."""


class HttpRepository(ABC):
    """The common part of those that are asked by HTTP: `files` at addresses."""

    def __init__(self, client: HttpClient, origin: str, headers: dict[str, str]) -> None:
        self.client, self._origin, self.headers = client, origin, headers

    @property
    def origin(self) -> str:
        return self._origin

    @abstractmethod
    def address(self, path: str) -> str:
        """Where the file of that path is asked for."""

    def read(self, path: str) -> bytes:
        return self.client.read(self.address(path), self.headers, SMALL_FILE)

    def open(self, file: RemoteFile, start: int) -> AbstractContextManager[Body]:
        return self.client.stream(self.address(file.path), self.headers, start, file.size)


class FolderRepository:
    """A folder of this machine, such as a network drive or another program's cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def origin(self) -> str:
        return str(self.folder)

    def find(self, path: str) -> RemoteFile | None:
        place = self.folder / path
        try:
            if not place.is_file():
                return None
            found = place.stat()
        except OSError as error:
            raise InputError(f"{place}: this file can't be looked at: {error.strerror}") from None
        return RemoteFile(path, found.st_size, version=f"{found.st_mtime_ns}-{found.st_size}")

    def read(self, path: str) -> bytes:
        place = self.folder / path
        if place.stat().st_size > SMALL_FILE:
            raise InputError(f"{place} is larger than {SMALL_FILE >> 20} MB: that is no {place.name}")
        return place.read_bytes()

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[Body]:
        with (self.folder / file.path).open("rb") as opened:
            opened.seek(start)
            yield Body(start, iter(lambda: opened.read(CHUNK), b""))
