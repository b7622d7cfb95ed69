"""Reading pictures ahead of the model: the next file is read, hashed and decoded while the last one is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.reading import MAX_FILE_BYTES, load_image

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
    picture: Image.Image | None = None
    error: str | None = None

    @property
    def is_skipped(self) -> bool:
        return self.picture is None and self.error is None


def load_picture(folder: Path, path: str, is_done: Callable[[str, str | None], bool]) -> Loaded:
    """Reads, hashes and decodes a file; not the last where `is_done(path, sha256)` says that its line is there.

    OmniLMMError where the machine is at fault, not the file: an error line would stay in the output for good.
    """
    sha256 = None
    try:
        data = _read(folder / path)
        sha256 = hashlib.sha256(data).hexdigest()
        return Loaded(path, sha256) if is_done(path, sha256) else Loaded(path, sha256, load_image(data))
    except InputError as error:
        if sha256 is None and is_done(path, None):
            return Loaded(path, None)
        return Loaded(path, sha256, error=str(error))
    except OmniLMMError as error:
        raise OmniLMMError(f"{path!r}: {error}") from None  # which of the folder's it was


def ahead(load: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """`load(item)` of each, in order. While the caller has one, a thread makes the next; what it raises comes in turn.

    Only one is made ahead: a picture may fill a quarter of a gigabyte.
    """
    with ThreadPoolExecutor(1, "prefetch") as thread:
        ready: Future[Result] | None = None
        for item in items:
            following = thread.submit(load, item)
            if ready is not None:
                yield ready.result()
            ready = following
        if ready is not None:
            yield ready.result()


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise InputError("picture: there is no regular file any more, or its link leads nowhere")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"picture: the file is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"picture: the file can't be read: {error.strerror or error}") from None
