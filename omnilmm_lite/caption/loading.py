"""Reading pictures ahead of the model: the next file is read, hashed and prepared while the last one is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.file import MAX_FILE_BYTES
from omnilmm_lite.picture.prepared_image import PreparedImage

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Loaded:
    """A file, read once, so that hash and picture are of the same bytes.

    `sha256` is None where it can't be read. One of `picture` and `error` is None; both are where the file is one that
    needs no answer.
    """

    path: str
    sha256: str | None
    picture: PreparedImage | None = None
    error: str | None = None

    @property
    def is_skipped(self) -> bool:
        return self.picture is None and self.error is None


def load_picture(
    folder: Path, path: str, is_done: Callable[[str, str | None], bool], prepare: Callable[[bytes], PreparedImage]
) -> Loaded:
    """Reads, hashes and prepares a file; not the last where `is_done(path, sha256)` says that its line is there.

    OmniLMMError where the machine is at fault, not the file: an error line would stay in the output for good.
    """
    sha256 = None
    try:
        data = _read(folder / path)
        sha256 = hashlib.sha256(data).hexdigest()
        return Loaded(path, sha256) if is_done(path, sha256) else Loaded(path, sha256, prepare(data))
    except InputError as error:
        if sha256 is None and is_done(path, None):
            return Loaded(path, None)
        return Loaded(path, sha256, error=str(error))
    except OmniLMMError as error:
        raise OmniLMMError(f"{path!r}: {error}") from None  # which of the folder's it was


def ahead(
    load: Callable[[Item], Result], items: Iterable[Item], stop: Callable[[], None]
) -> Generator[Result, None, None]:
    """`load(item)` of each, in order. While the caller has one, a thread makes the next; what it raises comes in turn.

    `stop` is called when the caller leaves, by whatever way, and makes a `load` that runs fail. Only one is made ahead:
    the file of a picture may fill half a gigabyte.
    """
    with ThreadPoolExecutor(1, "prefetch") as thread:
        ready: Future[Result] | None = None
        try:
            for item in items:
                following = thread.submit(load, item)
                if ready is not None:
                    yield _result(ready, stop)
                ready = following
            if ready is not None:
                yield _result(ready, stop)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
            stop()


def _result(future: Future[Result], stop: Callable[[], None]) -> Result:
    with ended_by(stop):
        return future.result()


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise InputError("picture: there is no regular file any more, or its link leads nowhere")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"picture: the file is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"picture: the file can't be read: {error.strerror or error}") from None
