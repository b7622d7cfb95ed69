"""One file, fetched into a partial file: goes on where it was stopped, and is checked before anybody sees it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.hub.choice import short
from omnilmm_lite.hub.http import CHUNK, HttpError, Retries, Trouble
from omnilmm_lite.hub.remote_file import RemoteFile
from omnilmm_lite.hub.repository import Repository

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class DownloadEvents:
    """Who hears of a download: `received` of bytes that came (fewer than none where they have to come again), `note`
    of what went wrong and is tried again."""

    received: Callable[[int], None]
    note: Callable[[str], None]


def download(repository: Repository, file: RemoteFile, partial: Path, events: DownloadEvents) -> str:
    """Fills `partial`, which may hold the file's beginning, with the whole file; gives its SHA-256 or git id, in hex.

    Bytes that are there already count as received. Wrong content is removed and fetched once more. HttpError where the
    connection doesn't come back, OmniLMMError where the content is wrong again or the disk is full.
    """
    for is_last in (False, True):
        try:
            found = _Transfer(repository, file, partial, events).run()
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OmniLMMError(
                f"{partial.parent}: the disk is full; what has come is kept: make room and give the same command again"
            ) from error
        if found == (file.expected or found) and partial.stat().st_size == file.size:
            return found
        events.received(-partial.stat().st_size)
        partial.unlink()
        what = f"{repository.origin}: {file.path} came with the hash {short(found)} instead of {short(file.expected)}"
        if is_last:
            raise OmniLMMError(f"{what}, twice; it was removed: try another hub or network")
        events.note(f"{what}; it is fetched once more")
    raise AssertionError("the loop returns or raises")


class _Transfer:
    """One try for the whole file, of as many connections as it takes."""

    def __init__(self, repository: Repository, file: RemoteFile, partial: Path, events: DownloadEvents) -> None:
        self._repository, self._file, self._partial, self._events = repository, file, partial, events
        self._digest = file.hasher()
        self._done = 0  # bytes in the partial file and in the digest

    def run(self) -> str:
        """The hash of what the partial file then holds: as many bytes as were announced, or one more."""
        self._take_up()
        retries = Retries(self._events.note, connects=True)
        while self._done < self._file.size:
            before = self._done
            try:
                with self._repository.open(self._file, self._done) as body:
                    self._receive(body.start, body.chunks)
                if self._done < self._file.size:
                    raise HttpError(f"{self._repository.origin}: the connection was cut", Trouble.TRANSIENT)
            except HttpError as error:
                if error.trouble is Trouble.RANGE:
                    self._begin_anew()
                    retries.wait(HttpError(str(error), Trouble.TRANSIENT))
                    continue
                if self._done > before:
                    retries.progressed()
                retries.wait(error)
        return self._digest.hexdigest()

    def _take_up(self) -> None:
        """Hashes what is there; more than was announced is somebody else's."""
        if not self._partial.exists():
            self._partial.touch()
        if self._partial.stat().st_size > self._file.size or self._file.identity is None:
            os.truncate(self._partial, 0)
        with self._partial.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                self._count(chunk)

    def _receive(self, start: int, chunks: Iterator[bytes]) -> None:
        if start != self._done:
            self._begin_anew()
            if start != 0:
                raise HttpError(f"{self._repository.origin} sends another part than was asked for", Trouble.TRANSIENT)
        with self._partial.open("r+b") as opened:
            opened.seek(self._done)
            for chunk in chunks:
                kept = chunk[: self._file.size + 1 - self._done]  # one byte too many shows that it is another file
                opened.write(kept)
                self._count(kept)
                if self._done > self._file.size:
                    break
            opened.flush()
            os.fsync(opened.fileno())

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._done += len(chunk)
        self._events.received(len(chunk))

    def _begin_anew(self) -> None:
        os.truncate(self._partial, 0)
        self._events.received(-self._done)
        self._digest, self._done = self._file.hasher(), 0
