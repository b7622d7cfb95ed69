"""Standard output that is full, closed, or a pipe whose reader has left."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

STDOUT = "standard output"


class OutputPipe:
    """Standard output whose errors have its name: Python's have none, where it is a full disk's file, say.

    On Windows, what the C library reports of a pipe that nobody reads, EINVAL, becomes BrokenPipeError as elsewhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _named_errors():
            return self._stream.write(text)

    def flush(self) -> None:
        with _named_errors():
            self._stream.flush()


class ClosedOutput(io.TextIOBase):
    """Where a program was started without standard output (`>&-`): what is written is an OSError, as it is in C."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed", STDOUT)


def take_closed_streams() -> None:
    """Gives descriptors 0 to 2 that are closed to nobody: the next file would get one, and what a library prints with
    it. Python itself has None for them, which knows no `write`."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115  # open as long as the program runs
    if sys.stdout is None:
        sys.stdout = cast(TextIO, ClosedOutput())
    if sys.stderr is None:  # nowhere is left to say anything
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


@contextlib.contextmanager
def output_errors_told() -> Iterator[None]:
    """On every system, a reader of standard output that has left is a BrokenPipeError, and any other error names it."""
    with contextlib.ExitStack() as stack:
        if not sys.stdout.isatty():
            stack.enter_context(contextlib.redirect_stdout(cast(TextIO, OutputPipe(sys.stdout))))
        yield


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if sys.platform == "win32" and error.errno == errno.EINVAL:
            raise BrokenPipeError(errno.EPIPE, "the reader has left") from error
        raise OSError(error.errno, error.strerror, STDOUT) from error  # of the class that the number stands for
