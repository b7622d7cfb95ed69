"""The limits of control groups: layouts as real systems have them, and a real group where one can be made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.machine.cgroup import (
    Group,
    Membership,
    Mount,
    Version,
    below,
    cpu_quota,
    groups,
    memory_limits,
    parse_memberships,
    parse_mounts,
)
from omnilmm_lite.machine.memory import available_bytes, fatal_limit, memory_limit, total_bytes
from tests.machine.machine_files import write_files
from tests.paths import ROOT

MIB = 1 << 20
GIB = 1 << 30
MEMINFO = """\
MemTotal:       24684092 kB
MemFree:        22798852 kB
MemAvailable:   23705796 kB
SwapTotal:       2097148 kB"""
MACHINE, AVAILABLE, SWAP = 24684092 * 1024, 23705796 * 1024, 2097148 * 1024
UNLIMITED = "9223372036854771712"  # of version 1, with pages of 4 KiB

ID = "8f2c1d0e5b7a4936"
MOUNT_V2 = "2254 2253 0:29 {} /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate"
MOUNTS_V1 = """\
1040 1035 0:30 {0} /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,name=systemd
1041 1035 0:33 {0} /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:15 - cgroup cgroup rw,cpu,cpuacct
1042 1035 0:34 {0} /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,memory
1043 1029 254:1 /var/lib/docker/containers/hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw,discard"""
GROUPS_V1 = "9:pids:{0}\n8:memory:{0}\n4:cpu,cpuacct:{0}\n1:name=systemd:{0}\n0::/system.slice/containerd.service"
CPU_V1, MEMORY_V1, V2 = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/memory", "sys/fs/cgroup"


def machine(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
    proc = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, "proc/meminfo": MEMINFO}
    return write_files(root, proc | files)


# ---- layouts ----


def test_docker_on_version_2(tmp_path: Path) -> None:
    """docker run --cpus 0.5 --memory 900m, in a namespace of its own."""
    files = {
        "cpu.max": "50000 100000",
        "memory.max": "943718400",
        "memory.high": "max",
        "memory.swap.max": "943718400",
        "memory.current": str(300 * MIB),
        "memory.stat": f"anon {90 * MIB}\nfile {200 * MIB}\ninactive_anon 4096\nactive_anon {90 * MIB}\n"
        f"inactive_file {150 * MIB}\nactive_file {50 * MIB}\nunevictable 0",
    }
    root = machine(tmp_path, "0::/", MOUNT_V2.format("/"), {f"{V2}/{name}": text for name, text in files.items()})
    assert cpu_quota(root) == 0.5
    assert total_bytes(root) == 900 * MIB
    assert available_bytes(root) == (900 - 300 + 150 + 50) * MIB
    limit = memory_limit(root)
    assert limit is not None
    assert limit.file == root / V2 / "memory.max"
    fatal = fatal_limit(root)
    assert fatal is not None
    assert fatal.size == 2 * 900 * MIB  # the rest would be swapped


def test_docker_on_version_1(tmp_path: Path) -> None:
    """No namespace: the container's own group is what is mounted."""
    group = f"/docker/{ID}"
    files = {
        f"{CPU_V1}/cpu.cfs_quota_us": "150000",
        f"{CPU_V1}/cpu.cfs_period_us": "100000",
        f"{MEMORY_V1}/memory.limit_in_bytes": str(GIB),
        f"{MEMORY_V1}/memory.memsw.limit_in_bytes": str(GIB),  # --memory-swap as large: no swap
        f"{MEMORY_V1}/memory.usage_in_bytes": str(700 * MIB),
        f"{MEMORY_V1}/memory.stat": f"cache 0\ninactive_file 0\nactive_file 0\nhierarchical_memory_limit {GIB}\n"
        f"total_inactive_file {100 * MIB}\ntotal_active_file {20 * MIB}",
    }
    root = machine(tmp_path, GROUPS_V1.format(group), MOUNTS_V1.format(group), files)
    assert groups("cpu", root) == (Group(Version.V1, root / CPU_V1),)
    assert cpu_quota(root) == 1.5
    assert total_bytes(root) == GIB
    assert available_bytes(root) == GIB - 580 * MIB
    fatal = fatal_limit(root)
    assert fatal is not None
    assert (fatal.size, fatal.file) == (GIB, root / MEMORY_V1 / "memory.limit_in_bytes")


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        f"{CPU_V1}/cpu.cfs_quota_us": "-1",
        f"{CPU_V1}/cpu.cfs_period_us": "100000",
        f"{MEMORY_V1}/memory.limit_in_bytes": UNLIMITED,
        f"{MEMORY_V1}/memory.usage_in_bytes": str(700 * MIB),
    }
    root = machine(tmp_path, GROUPS_V1.format("/"), MOUNTS_V1.format("/"), files)
    assert cpu_quota(root) is None
    assert memory_limits(root) == ()
    assert (total_bytes(root), available_bytes(root)) == (MACHINE, AVAILABLE)
    assert (memory_limit(root), fatal_limit(root)) == (None, None)


POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d.slice"


@pytest.mark.parametrize("controller", ["cpu", "memory"])
def test_kubernetes_seen_from_outside(tmp_path: Path, controller: str) -> None:
    """The pod's slice allows less than the container's scope in it, and no level below the root is left out."""
    container = f"{POD}/cri-containerd-{ID}.scope"
    files = {
        f"{V2}/{container}/cpu.max": "400000 100000",
        f"{V2}/{container}/memory.max": str(4 * GIB),
        f"{V2}/{POD}/cpu.max": "250000 100000",
        f"{V2}/{POD}/memory.max": str(3 * GIB),
        f"{V2}/{POD}/memory.current": str(2 * GIB),
        f"{V2}/kubepods.slice/cpu.max": "max 100000",
        f"{V2}/kubepods.slice/memory.max": str(20 * GIB),
    }
    root = machine(tmp_path, f"0::/{container}", MOUNT_V2.format("/"), files)
    assert [group.folder.name for group in groups(controller, root)] == [
        f"cri-containerd-{ID}.scope", POD.split("/")[2], "kubepods-burstable.slice", "kubepods.slice", "cgroup",
    ]  # fmt: skip
    assert cpu_quota(root) == 2.5
    assert total_bytes(root) == 3 * GIB
    assert available_bytes(root) == GIB


def test_systemd_slows_a_user_down_before_it_ends_anything(tmp_path: Path) -> None:
    """MemoryHigh= of the user's slice, MemoryMax= of the application's."""
    user = "user.slice/user-1000.slice"
    scope = f"{user}/user@1000.service/app.slice/app-gnome-terminal-4711.scope"
    files = {
        f"{V2}/{user}/memory.high": str(2 * GIB),
        f"{V2}/{user}/memory.max": "max",
        f"{V2}/{scope}/memory.high": "max",
        f"{V2}/{scope}/memory.max": str(6 * GIB),
        f"{V2}/{scope}/memory.swap.max": "0",
        f"{V2}/{scope}/cpu.max": "max 100000",
    }
    root = machine(tmp_path, f"0::/{scope}", MOUNT_V2.format("/"), files)
    limit, fatal = memory_limit(root), fatal_limit(root)
    assert limit is not None and fatal is not None
    assert (limit.size, limit.file.name) == (2 * GIB, "memory.high")
    assert (fatal.size, fatal.file.name) == (6 * GIB, "memory.max")
    assert cpu_quota(root) is None


def test_lxc_with_both_versions(tmp_path: Path) -> None:
    """A namespace on version 1, with systemd's own hierarchy on version 2 beside it, which limits nothing."""
    memberships = "5:memory:/\n3:cpu,cpuacct:/init.scope\n1:name=systemd:/init.scope\n0::/init.scope"
    mounts = (
        MOUNTS_V1.format("/") + "\n1044 1035 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
    )
    files = {
        f"{CPU_V1}/cpu.cfs_quota_us": "300000",
        f"{CPU_V1}/cpu.cfs_period_us": "100000",
        f"{CPU_V1}/init.scope/cpu.cfs_quota_us": "-1",
        f"{MEMORY_V1}/memory.limit_in_bytes": str(8 * GIB),
        "sys/fs/cgroup/unified/cgroup.controllers": "",
    }
    root = machine(tmp_path, memberships, mounts, files)
    assert cpu_quota(root) == 3.0
    assert total_bytes(root) == 8 * GIB
    fatal = fatal_limit(root)
    assert fatal is not None and fatal.size == 8 * GIB + SWAP  # nothing says how much swap: all there is


@pytest.mark.parametrize("text", ["", "max", "50000", "50000 0", "0 100000", "-1 100000", "5e4 100000", "1 2 3", "\0"])
def test_a_quota_that_is_none(tmp_path: Path, text: str) -> None:
    root = machine(tmp_path, "0::/", MOUNT_V2.format("/"), {f"{V2}/cpu.max": text})
    assert groups("cpu", root)
    assert cpu_quota(root) is None


def test_a_limit_above_the_machines_memory_is_none(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/", MOUNT_V2.format("/"), {f"{V2}/memory.max": str(64 * GIB)})
    assert memory_limit(root) is None
    assert fatal_limit(root) is None
    assert total_bytes(root) == MACHINE


def test_a_namespace_entered_without_a_mount_of_its_own(tmp_path: Path) -> None:
    """As `unshare -C` shows it: the mount's root lies two levels above ours, and its limit holds."""
    root = machine(tmp_path, "4:memory:/", MOUNTS_V1.format("/../.."), {f"{MEMORY_V1}/memory.limit_in_bytes": "4096"})
    assert total_bytes(root) == 4096


def test_a_group_outside_of_what_is_mounted_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    files = {f"{V2}/memory.max": "4096", "sys/fs/other/memory.max": "8192", "sys/memory.max": "1"}
    root = machine(tmp_path, "0::/../../other", MOUNT_V2.format("/"), files)
    assert groups("memory", root) == ()
    assert total_bytes(root) == MACHINE


def test_two_mounts_of_one_hierarchy(tmp_path: Path) -> None:
    """The host's, at a place with a space in its name, shows a limit that the container's own can't."""
    mounts = f"{MOUNT_V2.format('/docker')}\n31 30 0:29 / /host\\040files/cgroup ro - cgroup2 cgroup rw"
    files = {f"{V2}/{ID}/memory.max": "8192", "host files/cgroup/memory.max": "4096"}
    root = machine(tmp_path, f"0::/docker/{ID}", mounts, files)
    assert total_bytes(root) == 4096


# ---- where it lies ----


@pytest.mark.parametrize(
    ("path", "mount_root", "names"),
    [
        ("/", "/", ()),
        ("/a/b", "/", ("a", "b")),
        ("/a/b", "/a", ("b",)),
        ("/a/b", "/a/b", ()),
        ("/ab", "/a", None),
        ("/a", "/a/b", None),
        ("/", "/..", ()),
        ("/a", "/../..", ()),
        ("/a", "/../b", None),
        ("/..", "/", None),
        ("/../a/b", "/../a", ("b",)),
        ("/../a", "/..", ("a",)),
        ("/a/../../b", "/", None),
    ],
)
def test_from_the_mount_to_the_group(path: str, mount_root: str, names: tuple[str, ...] | None) -> None:
    assert below(path, mount_root) == names


def test_lines_as_the_kernel_writes_them() -> None:
    text = "4:cpu,cpuacct:/a:b (deleted)\n1:name=systemd:/\n0::/c\nnonsense\n3:memory\n"
    assert parse_memberships(text) == [
        Membership(Version.V1, frozenset({"cpu", "cpuacct"}), "/a:b"),
        Membership(Version.V1, frozenset({"name=systemd"}), "/"),
        Membership(Version.V2, frozenset(), "/c"),
    ]
    # proc_pid_mountinfo(5): any number of optional fields, also none, before the dash
    text = (
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:3 - cgroup none rw,memory\n"
        "37 35 98:1 / /a\\011b\\134c rw - cgroup2 none rw\n38 35 98:2 / /d rw - ext4 /dev/root rw\n36 35\n"
    )
    assert parse_mounts(text) == [
        Mount(Version.V1, frozenset({"rw", "memory"}), "/mnt1", "/mnt2"),
        Mount(Version.V2, frozenset(), "/", "/a\tb\\c"),
    ]


NAMES = st.lists(st.text(st.characters(exclude_characters="/\n", codec="utf-8"), min_size=1), max_size=5)


@given(NAMES, NAMES)
def test_a_group_is_found_below_any_root(root: list[str], names: list[str]) -> None:
    if {".", ".."} & {*root, *names}:
        return
    assert below("/" + "/".join([*root, *names]), "/" + "/".join(root)) == tuple(names)


ANY = st.text() | st.sampled_from(["max", "-1", "0", "0 0", "1 0", "max max", "1e9", "\x00", "9" * 30, "12 34 56"])


@given(cgroup=st.text() | NAMES.map(lambda names: "0::/" + "/".join(names)), stat=st.text(), value=ANY)
def test_whatever_the_files_hold_is_no_error(
    tmp_path_factory: pytest.TempPathFactory, cgroup: str, stat: str, value: str
) -> None:
    root = tmp_path_factory.mktemp("machine")
    files = dict.fromkeys(("cpu.max", "memory.max", "memory.high", "memory.swap.max", "memory.current"), value)
    files = {f"{V2}/{name}": text for name, text in files.items()} | {f"{V2}/memory.stat": stat}
    machine(root, cgroup.encode(errors="replace").decode(), MOUNT_V2.format("/"), files)
    quota, total, available = cpu_quota(root), total_bytes(root), available_bytes(root)
    assert quota is None or quota > 0
    assert total is not None and 0 <= total <= MACHINE
    assert available is not None and 0 <= available <= AVAILABLE


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    for each in parse_memberships(text):
        assert each.path.startswith("/")
    parse_mounts(text)


def test_where_nothing_is_told(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), memory_limits(tmp_path)) == (None, ())
    assert (total_bytes(tmp_path), available_bytes(tmp_path), memory_limit(tmp_path)) == (None, None, None)
    (tmp_path / "proc/self/cgroup").mkdir(parents=True)  # can't be read as a file
    assert cpu_quota(tmp_path) is None


# ---- a real one ----

CHILD = """
import dataclasses, json, pathlib
import numpy  # starts threads of its own
from omnilmm_lite.bundle.folder import BUILTIN
from omnilmm_lite.engine.device import Device, open_session
from omnilmm_lite.machine.description import Machine

def tasks():
    return len(list(pathlib.Path("/proc/self/task").iterdir()))

before = tasks()
session = open_session(BUILTIN / "tiny" / "resampler.onnx", Device.CPU)
print(json.dumps(dataclasses.asdict(Machine.read({})) | {"started": tasks() - before}))
"""
# The folder's files, by version, for half a processor and 900 MiB.
LIMITS = {
    ("cpu", Version.V1): ("cpu.cfs_quota_us", "50000"),
    ("cpu", Version.V2): ("cpu.max", "50000 100000"),
    ("memory", Version.V1): ("memory.limit_in_bytes", str(900 * MIB)),
    ("memory", Version.V2): ("memory.max", str(900 * MIB)),
}


@pytest.fixture
def real_groups() -> Iterator[list[Path]]:
    """Groups below our own, one a controller, with limits; gone at the end."""
    made: list[Path] = []
    try:
        for controller in ("cpu", "memory"):
            found = [
                group
                for group in groups(controller)
                if (group.folder / LIMITS[controller, group.version][0]).exists() or group.version is Version.V2
            ]
            if not found:
                pytest.skip(f"this system has no control groups for {controller}")
            name, value = LIMITS[controller, found[0].version]
            folder = found[0].folder / f"omnilmm-lite-test-{os.getpid()}"
            if folder not in made:
                folder.mkdir()
                made.append(folder)
            (folder / name).write_text(value)
        yield made
    except OSError as error:
        pytest.skip(f"no control group can be made and limited here: {error.strerror}")
    finally:
        for folder in made:
            folder.rmdir()


def test_a_process_in_a_real_group_knows_its_limits(real_groups: list[Path]) -> None:
    """Half a processor and 900 MiB: one thread, which is the caller's own."""
    enter = "".join(f'echo $$ > "{folder}/cgroup.procs" && ' for folder in real_groups)
    command = ["sh", "-c", f'{enter}exec "$0" -c "$1"', sys.executable, CHILD]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cpu_quota"], found["threads"], found["started"]) == (0.5, 1, 0)
    assert found["memory_limit_bytes"] == 900 * MIB
    assert found["memory_limit_file"].startswith(str(real_groups[-1]))
