"""Where fetched files lie: a folder of ours, or Hugging Face's cache, which other programs share."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.durable_file import move_into_place, write_text
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.hub.remote_file import RemoteFile

SPARE = 64 << 20  # bytes that stay free: the system wants some, and the files' own tables


class Destination(Protocol):
    """A place for one model in one version."""

    @property
    def folder(self) -> Path:
        """Where the model is to be found at the end."""

    def owned(self) -> AbstractContextManager[None]:
        """Makes the place and keeps other runs from it. InputError where another has it."""

    def find(self, file: RemoteFile) -> Path | None:
        """The file, if it is there whole by its size; InputError where another one has its name."""

    def partial(self, file: RemoteFile) -> Path:
        """Where it is while it comes. Its folder is there once the place is owned."""

    def keep(self, file: RemoteFile, partial: Path) -> None:
        """Gives a checked file its name; nothing is done for what `find` has given, if it has that."""

    def close(self) -> None:
        """Everything is there."""


@dataclass(frozen=True)
class FolderDestination:
    """Files by their names, partial ones hidden beside them."""

    folder: Path

    def owned(self) -> AbstractContextManager[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: this folder can't be made: {error.strerror}; name another with --to"
            ) from None
        return sole_owner(self.folder)

    def find(self, file: RemoteFile) -> Path | None:
        place = self.folder / file.path
        if not os.path.lexists(place):
            return None
        if not place.is_file() or place.stat().st_size != file.size or not self._is_the_same(file, place):
            raise InputError(
                f"{place} is another file than the one to be fetched; remove it, or name another folder with --to"
            )
        return place

    def partial(self, file: RemoteFile) -> Path:
        name = hashlib.sha256(f"{file.path}\n{file.size}\n{file.identity}".encode()).hexdigest()[:20]
        return self.folder / f".{name}.partial"

    def keep(self, file: RemoteFile, partial: Path) -> None:
        place = self.folder / file.path
        if partial == place:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.parent.resolve().is_relative_to(self.folder.resolve()):  # through a link that was there
            raise InputError(f"{place.parent} leads out of {self.folder}; remove that link")
        move_into_place(partial, place)

    def close(self) -> None:
        for left in self.folder.glob(".*.partial"):  # of versions that were begun and are not wanted any more
            if len(left.name) == len(".partial") + 21 and left.is_file():
                left.unlink(missing_ok=True)

    @staticmethod
    def _is_the_same(file: RemoteFile, place: Path) -> bool:
        """Whether the content is the announced one, as far as that can be known."""
        if file.expected is None:
            return True
        digest = file.hasher()
        with place.open("rb") as opened:
            while chunk := opened.read(1 << 22):
                digest.update(chunk)
        return digest.hexdigest() == file.expected


@dataclass(frozen=True)
class CacheDestination:
    """Hugging Face's cache: contents in blobs/, by their hash; snapshots/COMMIT/ has links of the files' names to them.

    `cache`: the cache's folder; `repo`: the model's folder in it. Where the system makes no links, a snapshot has the
    files themselves, as the library does it.
    """

    cache: Path
    repo: str
    commit: str
    revision: str  # whose newest commit that is

    @property
    def folder(self) -> Path:
        return self.cache / self.repo / "snapshots" / self.commit

    @property
    def _blobs(self) -> Path:
        return self.cache / self.repo / "blobs"

    def owned(self) -> AbstractContextManager[None]:
        locks = self.cache / ".locks" / self.repo
        try:
            for folder in (locks, self._blobs, self.folder):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.cache}: nothing can be written there ({error.strerror}); set HF_HOME, or give --to FOLDER"
            ) from None
        return sole_owner(locks / "omnilmm-lite")

    def find(self, file: RemoteFile) -> Path | None:
        place = self.folder / file.path
        if place.is_file():
            if place.stat().st_size != file.size:
                raise OmniLMMError(f"{place} has {place.stat().st_size:,} bytes instead of {file.size:,}; remove it")
            return place
        blob = self._blob(file)
        if blob.is_file() and blob.stat().st_size == file.size:  # of another version of the model
            return blob
        return None

    def partial(self, file: RemoteFile) -> Path:
        blob = self._blob(file)
        return blob.with_name(f"{blob.name}.incomplete")  # which `hf cache prune` knows

    def keep(self, file: RemoteFile, partial: Path) -> None:
        """`partial` may be a blob that is there already."""
        place, blob = self.folder / file.path, self._blob(file)
        if partial == place:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if partial != blob:
            move_into_place(partial, blob)
        try:
            place.unlink(missing_ok=True)  # a link to nothing
            place.symlink_to(os.path.relpath(blob, place.parent))
        except (OSError, NotImplementedError):
            move_into_place(blob, place)

    def close(self) -> None:
        """Notes down which commit the revision is, so that it is found without a network."""
        if self.revision != self.commit:
            note = self.cache / self.repo / "refs" / self.revision
            note.parent.mkdir(parents=True, exist_ok=True)
            write_text(note, self.commit)

    def _blob(self, file: RemoteFile) -> Path:
        if file.expected is None:
            raise OmniLMMError(f"{file.path}: the hub announces no hash for it; fetch it into a folder with --to")
        return self._blobs / file.expected


def nearest_folder(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())


def free_bytes(path: Path) -> int:
    """What may be written where `path` will be, without the last bit."""
    return max(0, shutil.disk_usage(nearest_folder(path)).free - SPARE)
