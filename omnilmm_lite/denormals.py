"""Keeps onnxruntime's floating-point mode to onnxruntime.

With `session.set_denormal_as_zero` the thread that makes a process's first session takes denormal numbers as zero from
then on, and numpy and whoever else runs in it lose their smallest numbers. Here the thread gets its own mode back once
the session is made, and onnxruntime's is lent to it for each run.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

SMALLEST = 5e-324  # the smallest denormal double
FENV_BYTES = 64  # no fenv_t is larger: 32 on x86-64, 8 on aarch64


class FloatMode:
    """The calling thread's floating-point environment, through C's fegetenv and fesetenv.

    Where they can't be had (another system than Linux with glibc), all this does nothing.
    """

    def __init__(self) -> None:
        self._flushing: ctypes.Array[ctypes.c_char] | None = None
        self._libm: ctypes.CDLL | None = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._libm = ctypes.CDLL("libm.so.6")

    @contextlib.contextmanager
    def making_session(self) -> Iterator[None]:
        """Around the making of each session: takes note of the mode that onnxruntime leaves behind."""
        with self._restored():
            try:
                yield
            finally:  # a session that could not be made may have been the first as well
                if self._flushing is None and SMALLEST * 1.0 == 0.0:
                    self._flushing = self._get()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around each run of a session."""
        with self._restored():
            if self._flushing is not None:
                self._set(self._flushing)
            yield

    @contextlib.contextmanager
    def _restored(self) -> Iterator[None]:
        before = self._get()
        try:
            yield
        finally:
            if before is not None:
                self._set(before)

    def _get(self) -> ctypes.Array[ctypes.c_char] | None:
        if self._libm is None:
            return None
        environment = ctypes.create_string_buffer(FENV_BYTES)
        self._libm.fegetenv(environment)
        return environment

    def _set(self, environment: ctypes.Array[ctypes.c_char]) -> None:
        if self._libm is not None:
            self._libm.fesetenv(environment)


FLOAT_MODE = FloatMode()
