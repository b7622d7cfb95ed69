"""How much memory this process has used, and how much the machine has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024  # of `ru_maxrss`: macOS counts bytes, Linux KiB


def peak_rss_bytes() -> int | None:
    """The most resident memory so far, in bytes; None where the system doesn't tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT


def rss_bytes() -> int | None:
    """The memory resident now, in bytes; None where the system doesn't tell (outside Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def total_bytes() -> int | None:
    """The machine's memory, in bytes; None where the system doesn't tell (outside Linux)."""
    return _meminfo_bytes("MemTotal")


def available_bytes() -> int | None:
    """What programs can have without anything being swapped out, in bytes; None as above."""
    return _meminfo_bytes("MemAvailable")


def _meminfo_bytes(field: str) -> int | None:
    """Source: proc_meminfo(5)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]  # in KiB
    return 1024 * int(found[0]) if found else None


def return_freed_memory() -> None:
    """Gives freed memory back to the system. glibc keeps what closing a session frees in pieces: most of a gigabyte
    after a tower of 63 blocks (extrapolated from ten)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library has no such function
            ctypes.CDLL(None).malloc_trim(0)
