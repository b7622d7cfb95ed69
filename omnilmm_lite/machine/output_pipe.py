"""Standard output into a pipe whose reader has left, which Windows says otherwise than other systems."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class OutputPipe:
    """A stream with BrokenPipeError where writing says EINVAL: so Windows' C library reports a pipe that nobody reads.

    Elsewhere than at standard output, EINVAL means what it says.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _broken_pipes():
            return self._stream.write(text)

    def flush(self) -> None:
        with _broken_pipes():
            self._stream.flush()


@contextlib.contextmanager
def closed_pipes_told() -> Iterator[None]:
    """On every system, a reader of standard output that has left is a BrokenPipeError."""
    with contextlib.ExitStack() as stack:
        if sys.platform == "win32" and sys.stdout is not None and not sys.stdout.isatty():
            stack.enter_context(contextlib.redirect_stdout(cast(TextIO, OutputPipe(sys.stdout))))
        yield


@contextlib.contextmanager
def _broken_pipes() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise BrokenPipeError(errno.EPIPE, "the reader has left") from error
        raise
