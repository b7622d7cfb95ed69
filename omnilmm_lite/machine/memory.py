"""How much memory this process has used, and how much it may have: the machine's, or less in a container."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.machine.cgroup import memory_limits
from omnilmm_lite.machine.system_file import ROOT, parse_count, read_text

RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024  # of `ru_maxrss`: macOS counts bytes, Linux KiB


@dataclass(frozen=True)
class Limit:
    """Bytes that a container or another control group allows; the file that says so."""

    size: int
    file: Path


def peak_rss_bytes() -> int | None:
    """The most resident memory so far, in bytes; None where the system doesn't tell (Windows)."""
    peak: int | None = None
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RUSAGE_UNIT
    return peak


def rss_bytes() -> int | None:
    """The memory resident now, in bytes; None where the system doesn't tell (outside Linux)."""
    pages = read_text(Path("/proc/self/statm")).split(" ")
    return int(pages[1]) * mmap.PAGESIZE if len(pages) > 1 else None


def machine_bytes(root: Path = ROOT) -> int | None:
    """The machine's memory, in bytes; None where the system doesn't tell (outside Linux)."""
    return _meminfo_bytes("MemTotal", root)


def memory_limit(root: Path = ROOT) -> Limit | None:
    """The smallest limit that this process is under; None where all of the machine's memory may be had."""
    limits = (Limit(each.size, each.file) for each in memory_limits(root))
    smallest = min(limits, key=lambda limit: limit.size, default=None)
    machine = machine_bytes(root)
    return None if smallest is None or (machine is not None and smallest.size >= machine) else smallest


def fatal_limit(root: Path = ROOT) -> Limit | None:
    """How much memory, swap included, this process is ended for without a word; None where nothing but the machine
    limits it."""
    swap_total = _meminfo_bytes("SwapTotal", root) or 0
    limits = (
        Limit(each.size + (swap_total if each.swap is None else min(each.swap, swap_total)), each.file)
        for each in memory_limits(root)
        if each.kills
    )
    smallest = min(limits, key=lambda limit: limit.size, default=None)
    machine = machine_bytes(root)
    return None if smallest is None or (machine is not None and smallest.size >= machine + swap_total) else smallest


def total_bytes(root: Path = ROOT) -> int | None:
    """The memory that this process may have, in bytes: the machine's, or its container's limit; None as above."""
    limit = memory_limit(root)
    return machine_bytes(root) if limit is None else limit.size


def available_bytes(root: Path = ROOT) -> int | None:
    """What this process can have without anything being swapped out,
    in bytes; None as above."""
    free = [max(0, limit.size - limit.used) for limit in memory_limits(root)]
    machine = _meminfo_bytes("MemAvailable", root)
    return min(free if machine is None else [*free, machine], default=None)


def _meminfo_bytes(field: str, root: Path) -> int | None:
    """Source: proc_meminfo(5)."""
    for line in read_text(root / "proc/meminfo").split("\n"):
        name, _, value = line.partition(":")
        if name == field:
            kibibytes = parse_count(value.removesuffix("kB").strip())
            return None if kibibytes is None else 1024 * kibibytes
    return None


def return_freed_memory() -> None:
    """Gives freed memory back to the system. glibc keeps what closing a session frees in pieces: most of a gigabyte
    after a tower of 63 blocks (extrapolated from ten)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library has no such function
            ctypes.CDLL(None).malloc_trim(0)
