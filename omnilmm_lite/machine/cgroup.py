"""The control groups that this process is in: what a container, or a slice of systemd, may have of the machine.

A group's limits hold for all groups below it, so every folder from the process's own up to the mount's root counts.
What can't be read, or isn't understood, is no limit. Sources: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5);
Linux's Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from omnilmm_lite.machine.system_file import ROOT, parse_count, read_count, read_text

MEMBERSHIPS = "proc/self/cgroup"
MOUNTS = "proc/self/mountinfo"
DELETED = " (deleted)"  # behind the path of a group that is gone
NO_LIMIT = 1 << 60  # version 1 writes the largest number of whole pages where there is no limit


class Version(Enum):
    """Of the interface. A system may have both, with some controllers in each."""

    V1 = 1
    V2 = 2


@dataclass(frozen=True)
class Membership:
    """A line of /proc/self/cgroup. `path`: of the group, as seen from the process's namespace."""

    version: Version
    controllers: frozenset[str]  # empty in version 2
    path: str


@dataclass(frozen=True)
class Mount:
    """Where a hierarchy of groups can be looked at. `root`: the group that lies at `point`, seen as above."""

    version: Version
    controllers: frozenset[str]  # empty in version 2
    root: str
    point: str


@dataclass(frozen=True)
class Group:
    """One group's folder."""

    version: Version
    folder: Path


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes. `used` leaves out what the system can take back at once: pages of files. `swap`: the most that the group
    may have on top of `size`, outside of memory. `kills`: whoever takes more is ended; else only slowed down."""

    file: Path
    size: int
    used: int
    swap: int | None  # None: as much as there is
    kills: bool


def cpu_quota(root: Path = ROOT) -> float | None:
    """The processors' worth of time that this process may take, such as 0.5; None where nothing limits it."""
    quotas = (_quota(group) for group in groups("cpu", root))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limits(root: Path = ROOT) -> tuple[MemoryLimit, ...]:
    """Of every group that this process is in, its own first."""
    return tuple(limit for group in groups("memory", root) for limit in _memory_limits(group))


def groups(controller: str, root: Path = ROOT) -> tuple[Group, ...]:
    """The groups that this process is in and that may have files of `controller`, its own first."""
    mounts = parse_mounts(read_text(root / MOUNTS))
    found: dict[Group, None] = {}  # a hierarchy may be mounted twice
    for membership in parse_memberships(read_text(root / MEMBERSHIPS)):
        if membership.version is Version.V1 and controller not in membership.controllers:
            continue
        for mount in mounts:
            if mount.version is not membership.version:
                continue
            if mount.version is Version.V1 and controller not in mount.controllers:
                continue
            names = below(membership.path, mount.root)
            if names is not None:
                top = root / mount.point.lstrip("/")
                for depth in range(len(names), -1, -1):
                    found[Group(mount.version, top.joinpath(*names[:depth]))] = None
    return tuple(found)


# ---- where the groups are ----


def parse_memberships(text: str) -> list[Membership]:
    """From the text of /proc/self/cgroup; lines that are none are left out."""
    found = []
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if not colon or not path.startswith("/"):
            continue
        controllers = frozenset(filter(None, names.split(",")))
        version = Version.V2 if number == "0" and not controllers else Version.V1
        found.append(Membership(version, controllers, path.removesuffix(DELETED)))
    return found


def parse_mounts(text: str) -> list[Mount]:
    """The hierarchies of groups, from the text of /proc/self/mountinfo; lines that are none are left out."""
    versions = {"cgroup": Version.V1, "cgroup2": Version.V2}
    found = []
    for line in text.split("\n"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")  # root and point are fields 4 and 5
        if len(fields) < 6 or len(kinds) < 3 or kinds[0] not in versions:
            continue
        version = versions[kinds[0]]
        controllers = frozenset(kinds[2].split(",")) if version is Version.V1 else frozenset[str]()
        found.append(Mount(version, controllers, _unescaped(fields[3]), _unescaped(fields[4])))
    return found


def _unescaped(text: str) -> str:
    """Spaces, tabs, ends of lines and backslashes are written in octal."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)


def below(path: str, mount_root: str) -> tuple[str, ...] | None:
    """The folders that lead from a mount's root to the group of `path`; None where the group isn't below it.

    Both are seen from the root of the process's namespace, and begin with `/..` where they are outside of it. A mount
    from further outside shows groups above that root, but not which names lead to it: then the mount's root alone is
    known to lie above the group, and there are no folders.
    """
    path_ups, path_names = _climbed(path)
    root_ups, root_names = _climbed(mount_root)
    if root_ups > path_ups and not root_names:
        return ()
    if root_ups != path_ups or path_names[: len(root_names)] != root_names:
        return None
    names = path_names[len(root_names) :]
    return None if ".." in names else names


def _climbed(path: str) -> tuple[int, tuple[str, ...]]:
    """How many times a path begins with `..`, and the names behind."""
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    ups = next((index for index, name in enumerate(names) if name != ".."), len(names))
    return ups, names[ups:]


# ---- what they say ----


def _quota(group: Group) -> float | None:
    if group.version is Version.V2:
        words = read_text(group.folder / "cpu.max").split(" ")
        quota, period = (parse_count(words[0]), parse_count(words[1])) if len(words) == 2 else (None, None)
    else:
        quota, period = (read_count(group.folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota / period if quota and period else None


def _memory_limits(group: Group) -> Iterator[MemoryLimit]:
    if group.version is Version.V2:
        used = _used(group.folder / "memory.current", group.folder / "memory.stat", "")
        swap = read_count(group.folder / "memory.swap.max")
        for name, kills in (("memory.max", True), ("memory.high", False)):
            size = read_count(group.folder / name)
            if size is not None:
                yield MemoryLimit(group.folder / name, size, used, swap, kills)
        return
    file = group.folder / "memory.limit_in_bytes"
    size = read_count(file)
    if size is not None and size < NO_LIMIT:
        with_swap = read_count(group.folder / "memory.memsw.limit_in_bytes")
        swap = None if with_swap is None else max(0, with_swap - size)
        used = _used(group.folder / "memory.usage_in_bytes", group.folder / "memory.stat", "total_")
        yield MemoryLimit(file, size, used, swap, kills=True)


def _used(usage: Path, stat: Path, prefix: str) -> int:
    """Without pages of files, of which the kernel counts all as available (si_mem_available in mm/show_mem.c): those
    that a graph's mapped weights lie in are just what is to be mapped. `prefix`: in version 1, figures that hold for
    the groups below as well are called `total_`."""
    used = read_count(usage) or 0
    for line in read_text(stat).split("\n"):
        name, _, value = line.partition(" ")
        if name in (f"{prefix}inactive_file", f"{prefix}active_file"):
            used -= parse_count(value) or 0
    return max(0, used)
