"""How many threads to compute with where nobody says."""

from __future__ import annotations

import functools
import math

from omnilmm_lite.machine.cgroup import cpu_quota
from omnilmm_lite.machine.cores import Cores, read_cores

MOST_THREADS = 1024  # that may be asked for: more than any desktop has, and onnxruntime makes as many as it is told


def default_threads() -> int | None:
    """One a core that is worth it, no more than a container's quota keeps busy; None where the system tells neither.

    A thread too many costs more than it brings. Under a quota of half a core, two threads use it up in a quarter of
    each period, and stand still for the rest; on a slow core or a second hyperthread, one makes all others wait, which
    only many slow cores make up for (`omnilmm_lite.machine.cores.worth_a_thread`).
    """
    return threads_for(read_cores(), cpu_quota())


def threads_for(cores: Cores, quota: float | None) -> int | None:
    """`default_threads` of any machine."""
    most = cores.worthwhile if quota is None else cores.worthwhile or cores.usable
    known = [number for number in (most, None if quota is None else math.ceil(quota)) if number is not None]
    return min(known, default=None)


@functools.cache
def limited_threads() -> int | None:
    """`default_threads`, where that is less than one for each of the machine's physical cores, else None.

    One for each is onnxruntime's own choice, and it then also gives each thread a core of its own. Asked for with every
    session, and read once a process.
    """
    cores = read_cores()
    threads = threads_for(cores, cpu_quota())
    return None if threads == cores.physical else threads
