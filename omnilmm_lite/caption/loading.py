"""Reading pictures ahead of the model: the next file is read, hashed and prepared while the last one is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.file import MAX_FILE_BYTES
from omnilmm_lite.picture.prepared_image import PreparedImage

Item = TypeVar("Item")
Result = TypeVar("Result")


class Need(Enum):
    """What a file still needs."""

    ANSWER = auto()
    WRITING = auto()  # its answer is known, and not yet where it is to go
    NOTHING = auto()  # its line is there
    ELSEWHERE = auto()  # another shard's run describes it
    NOTHING_BESIDE = auto()  # there are no lines, and all that is to be written beside it is there
    UNWRITABLE = auto()  # there are no lines, and nothing can be written beside it or into it


@dataclass(frozen=True)
class Loaded:
    """A file, read once, so that hash and picture are of the same bytes.

    `sha256` is None where it can't be read. One of `picture` and `error` is None; both are where the file is one that
    needs no answer, but for `error` where that is UNWRITABLE. `fields`: what it puts into a template.
    """

    path: str
    sha256: str | None
    picture: PreparedImage | None = None
    error: str | None = None
    need: Need = Need.ANSWER
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_skipped(self) -> bool:
        return self.need is not Need.ANSWER


def no_fields(path: str, data: bytes, picture: PreparedImage) -> Mapping[str, str]:
    return {}


def load_picture(
    folder: Path,
    path: str,
    need: Callable[[str, str | None, bytes], Need],
    prepare: Callable[[bytes], PreparedImage],
    fields: Callable[[str, bytes, PreparedImage], Mapping[str, str]] = no_fields,
) -> Loaded:
    """Reads, hashes and prepares a file; not the last where `need(path, sha256, data)` says that no answer is needed,
    or raises InputError because it could be written nowhere.

    OmniLMMError where the machine is at fault, not the file: an error line would stay in the output for good.
    """
    try:
        data = _read(folder / path)
    except InputError as error:
        found = need(path, None, b"")
        return Loaded(path, None, error=str(error) if found is Need.ANSWER else None, need=found)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        found = need(path, sha256, data)
    except InputError as error:
        return Loaded(path, sha256, error=str(error), need=Need.UNWRITABLE)
    if found is not Need.ANSWER:
        return Loaded(path, sha256, need=found)
    try:
        picture = prepare(data)
        return Loaded(path, sha256, picture, fields=fields(path, data, picture))
    except InputError as error:
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
