"""The processor's cores: which this process may run on, and which of them are worth a thread.

Sources: Linux's Documentation/admin-guide/cputopology.rst, ABI/testing/sysfs-bus-event_source-devices-cpu of hybrid
processors, devicetree/bindings/cpu/cpu-capacity.txt; proc_cpuinfo(5), sysctl(8) of macOS.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.machine.system_file import ROOT, parse_count, read_count, read_text

CPUS = "sys/devices/system/cpu"
CPUINFO = "proc/cpuinfo"
# Both are there on an Intel processor with two kinds of cores, and name the logical processors of each.
FAST_INTEL, SLOW_INTEL = "sys/devices/cpu_core/cpus", "sys/devices/cpu_atom/cpus"
FAST_CAPACITY, SLOW_CAPACITY = 1024, 512  # of Intel's two kinds, where Linux doesn't tell: assumed, not measured
MOST_PROCESSORS = 1 << 16  # a list that says more is damaged
SYSCTL_SECONDS = 5


@dataclass(frozen=True)
class Cores:
    """Numbers of cores; None where the system doesn't tell. Hyperthreads of one core are one physical core."""

    physical: int | None  # of the machine
    usable: int | None  # logical ones that this process may run on
    usable_physical: int | None  # the physical ones that these belong to
    worthwhile: int | None  # of the usable physical ones, those that a thread each is worth it on: see `worth_a_thread`


def read_cores(root: Path = ROOT, usable: Iterable[int] | None = None) -> Cores:
    """`usable`: the logical processors that this process may run on; by default, as the system says."""
    if platform.system() == "Darwin":
        return apple_cores(_sysctl)
    allowed = frozenset(_affinity() if usable is None else usable)
    core_of = _core_of(root)
    if not allowed:
        return Cores(len(set(core_of.values())) or None, os.cpu_count(), None, None)

    def physical(processors: Iterable[int]) -> int | None:
        return len({core_of[each] for each in processors if each in core_of}) or None

    capacities: dict[Hashable, int] = {}
    for processor, capacity in _capacities(root, allowed).items():
        if processor in core_of:
            capacities[core_of[processor]] = max(capacity, capacities.get(core_of[processor], 0))
    return Cores(physical(core_of), len(allowed), physical(allowed), worth_a_thread(capacities.values()) or None)


def _affinity() -> Iterable[int]:
    """A container's set of processors (cpuset) is in it. Empty where the system doesn't tell (Windows)."""
    processors: Iterable[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return processors


def _core_of(root: Path) -> dict[int, Hashable]:
    """Logical processor -> what stands for its physical core. Empty where neither file tells."""
    found: dict[int, Hashable] = {}
    for processor in parse_list(read_text(root / CPUS / "online")):
        siblings = parse_list(read_text(root / CPUS / f"cpu{processor}" / "topology/thread_siblings_list"))
        if processor in siblings:
            found[processor] = siblings
    return found or _core_of_cpuinfo(read_text(root / CPUINFO))


def _core_of_cpuinfo(text: str) -> dict[int, Hashable]:
    """Arm's names no cores."""
    found: dict[int, Hashable] = {}
    for processor in text.split("\n\n"):
        number, package, core = (cpuinfo_field(processor, name) for name in ("processor", "physical id", "core id"))
        if number.isdecimal() and core:
            found[int(number)] = (package, core)
    return found


def cpuinfo_field(text: str, name: str) -> str:
    """The first of that name in the text of /proc/cpuinfo; empty where there is none."""
    match = re.search(rf"^{name}[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def worth_a_thread(capacities: Iterable[int]) -> int:
    """How many cores to use, the fastest ones first, given each one's capacity; 0 where there is none.

    Work is shared evenly, so the slowest core in use says how long all of it takes: n cores are worth n times that
    one's capacity. The fewest that are worth the most are taken: of 8 fast cores and 8 of half their capacity the 8, of
    2 and 8 all 10.
    """
    ordered = sorted(capacities, reverse=True)
    return max(range(len(ordered) + 1), key=lambda n: n * ordered[n - 1] if n else 0)  # the first of equals


def _capacities(root: Path, usable: frozenset[int]) -> dict[int, int]:
    """Of each logical processor; all the same where the system makes no difference."""
    told = {each: read_count(root / CPUS / f"cpu{each}" / "cpu_capacity") for each in usable}
    known = {each: capacity for each, capacity in told.items() if capacity}
    if known.keys() == usable and len(set(known.values())) > 1:
        return known
    slow = parse_list(read_text(root / SLOW_INTEL)) if read_text(root / FAST_INTEL) else frozenset()
    return {each: SLOW_CAPACITY if each in slow else FAST_CAPACITY for each in usable}


def parse_list(text: str) -> frozenset[int]:
    """Numbers written as `0-3,8`; empty where it is no such list."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = parse_count(first), parse_count(last or first)
        if start is None or end is None or not start <= end < MOST_PROCESSORS:
            return frozenset()
        numbers.update(range(start, end + 1))
    return frozenset(numbers)


# ---- macOS ----


def apple_cores(sysctl: Callable[[str], int | None]) -> Cores:
    """`sysctl`: a number by its name. Nothing is kept from a process there, so all cores are usable.

    The slower levels' capacity isn't told, so the fastest one's cores are taken.
    """
    physical = sysctl("hw.physicalcpu")
    fast = sysctl("hw.perflevel0.physicalcpu")  # Apple's own processors alone have levels
    return Cores(physical, os.cpu_count(), physical, fast or physical)


def _sysctl(name: str) -> int | None:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=SYSCTL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_count(done.stdout.strip())
