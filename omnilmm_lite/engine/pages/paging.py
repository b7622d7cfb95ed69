"""Weights that a graph takes where they lie in a mapped file, brought there all at once.

Left alone, the first run of a graph stops at every few pages, for the system to note down where they are, and for the
disk where they aren't in memory. One core waits, and the other has nothing to do. How long they do was measured:
docs/performance.md. Linux alone; elsewhere nothing happens. Sources: madvise(2), posix_fadvise(2), proc_pid_maps(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.regular_file import open_regular
from omnilmm_lite.machine.memory import available_bytes

MADV_POPULATE_READ = 22  # Linux 5.14; Python's mmap module doesn't know it
MAPS = Path("/proc/self/maps")
CHUNK = 1 << 26  # bytes between two looks at the interrupt: milliseconds, or 50 of them where the disk has to be read


def populate(file: Path) -> None:
    """Maps every page of what this process has mapped of the file, which reads from the disk what isn't in memory.

    Nothing happens where there isn't room for all of it: what came first would be gone again before it is used.
    """
    ranges = list(_mapped_ranges(file))
    room = available_bytes()
    if not ranges or room is None or sum(end - start for start, end in ranges) > room:
        return
    with contextlib.suppress(OSError, AttributeError):  # an older kernel; another C library
        madvise = _madvise()
        _in_chunks(ranges, lambda start, length: madvise(start, length, MADV_POPULATE_READ))


def read_ahead(file: Path) -> None:
    """Asks the system to read the file into its cache, where it isn't there already, without mapping it.

    Nothing happens where there is none: that the graph's weights lie in it is a guess.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, InputError), open_regular(file) as opened:
            size, number = os.fstat(opened.fileno()).st_size, opened.fileno()
            advice = os.POSIX_FADV_WILLNEED
            _in_chunks([(0, size)], lambda start, length: os.posix_fadvise(number, start, length, advice))


def _in_chunks(ranges: list[tuple[int, int]], work: Callable[[int, int], object]) -> None:
    """Until the thread's interrupt is set. No error then: whatever comes next meets the interrupt itself."""
    stopped = threading.Event()
    with ended_by(stopped.set):
        for begin, end in ranges:
            for start in range(begin, end, CHUNK):
                if stopped.is_set():
                    return
                work(start, min(CHUNK, end - start))


def _mapped_ranges(file: Path) -> Iterator[tuple[int, int]]:
    """First address and the one behind the last, of each."""
    try:
        lines = MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return
    name = str(file.resolve())
    for line in lines:
        fields = line.split(maxsplit=5)  # addresses, permissions, offset, device, inode, path
        if len(fields) == 6 and fields[5] == name:
            start, end = fields[0].split("-")
            yield int(start, 16), int(end, 16)


def _madvise() -> Callable[[int, int, int], None]:
    function = ctypes.CDLL(None, use_errno=True).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def madvise(start: int, length: int, advice: int) -> None:
        if function(start, length, advice):
            raise OSError(ctypes.get_errno(), "madvise")

    return madvise
