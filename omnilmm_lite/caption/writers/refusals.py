"""What stops one caption from being written, told from what stops the run."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from omnilmm_lite.errors import InputError

# The next picture would meet these as well.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_ADVICE = {
    errno.ENAMETOOLONG: "give the picture a shorter name",
    errno.EISDIR: "move that folder away",
    errno.ENOENT: "it, or its folder, was moved or removed meanwhile",
    errno.ENOTDIR: "it, or its folder, was moved or removed meanwhile",
}


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """InputError, which begins with `name`, for errors that are about one file; those of the disk pass."""
    try:
        yield
    except OSError as error:
        if error.errno in OF_THE_DISK:
            raise
        advice = _ADVICE.get(error.errno or 0, "change its rights")
        raise InputError(f"{name}: it can't be written ({error.strerror or error}); {advice}") from None
