"""Cores, threads and instruction sets: what known processors' files make of them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.machine.cores import Cores, apple_cores, parse_list, read_cores
from omnilmm_lite.machine.processor import (
    has_int8_dot_products,
    instruction_sets,
    last_level_cache_bytes,
    processor_name,
)
from omnilmm_lite.machine.threads import threads_for
from tests.machine.machine_files import write_files
from tests.paths import ROOT

CPUS = "sys/devices/system/cpu"


def topology(root: Path, siblings: list[str], capacities: list[int] | None = None) -> Path:
    """`siblings`: of each logical processor, as Linux lists them."""
    files = {f"{CPUS}/cpu{i}/topology/thread_siblings_list": text for i, text in enumerate(siblings)}
    files |= {f"{CPUS}/cpu{i}/cpu_capacity": str(capacity) for i, capacity in enumerate(capacities or [])}
    return write_files(root, files | {f"{CPUS}/online": f"0-{len(siblings) - 1}"})


# ---- cores ----


def alder_lake(root: Path) -> Path:
    """Intel i7-1260P: four fast cores with two threads each, eight slow ones with one."""
    return intel(root, fast=4, slow=8)


def intel(root: Path, fast: int, slow: int, capacities: tuple[int, int] | None = None) -> Path:
    """A hybrid; `capacities`: of a fast and of a slow core, as Linux tells them since 6.12."""
    threads = 2 * fast
    siblings = [f"{i - i % 2}-{i - i % 2 + 1}" for i in range(threads)]
    siblings += [str(i) for i in range(threads, threads + slow)]
    told = None if capacities is None else [capacities[0]] * threads + [capacities[1]] * slow
    topology(root, siblings, told)
    lists = {"core": f"0-{threads - 1}", "atom": f"{threads}-{threads + slow - 1}"}
    return write_files(root, {f"sys/devices/cpu_{kind}/cpus": text for kind, text in lists.items()})


@pytest.mark.parametrize(
    ("usable", "expected"),
    [
        (range(16), Cores(12, 16, 12, 12)),  # twelve of half the capacity are worth six
        ((0, 1, 2), Cores(12, 3, 2, 2)),
        ((0, 8, 9), Cores(12, 3, 3, 3)),
        ((0, 1, 8), Cores(12, 3, 2, 1)),
        ((0, *range(8, 16)), Cores(12, 9, 9, 9)),
        ((8, 9, 10), Cores(12, 3, 3, 3)),  # slow ones are all there are
    ],
)
def test_intel_hybrid(tmp_path: Path, usable: range, expected: Cores) -> None:
    assert read_cores(alder_lake(tmp_path), usable) == expected


@pytest.mark.parametrize(
    ("fast", "slow", "capacities", "expected"),
    [
        (8, 8, None, 8),  # 8 against 16 of a half: not more
        (2, 8, None, 10),
        (1, 8, None, 9),
        (6, 8, None, 14),
        (8, 8, (1024, 717), 16),  # 11.2 against 8
        (4, 8, (1024, 307), 4),  # 3.6 against 4
    ],
)
def test_slow_cores_count_where_all_together_are_worth_more(
    tmp_path: Path, fast: int, slow: int, capacities: tuple[int, int] | None, expected: int
) -> None:
    found = read_cores(intel(tmp_path, fast, slow, capacities), range(2 * fast + slow))
    assert found == Cores(fast + slow, 2 * fast + slow, fast + slow, expected)


def test_hyperthreads_of_a_desktop(tmp_path: Path) -> None:
    """AMD Ryzen 5 5600X: six cores, whose second threads come behind all first ones; x86 has capacities since 6.12."""
    topology(tmp_path, [f"{i % 6},{i % 6 + 6}" for i in range(12)], [1024] * 12)
    assert read_cores(tmp_path, range(12)) == Cores(6, 12, 6, 6)
    assert read_cores(tmp_path, (0, 6)) == Cores(6, 2, 1, 1)


@pytest.mark.parametrize(
    ("capacities", "fast"),
    [
        ([414] * 4 + [1024] * 4, 4),  # Rockchip RK3588
        ([414] * 8 + [1024], 9),
        ([292] * 4 + [828] * 3 + [1024], 4),  # Snapdragon 8 Gen 1: the middle ones are worth a thread
        ([1024] * 4, 4),  # Raspberry Pi 5
        ([], 8),  # a kernel that doesn't tell
    ],
)
def test_arm_cores_of_several_kinds(tmp_path: Path, capacities: list[int], fast: int) -> None:
    count = len(capacities) or 8
    topology(tmp_path, [str(i) for i in range(count)], capacities)
    assert read_cores(tmp_path, range(count)) == Cores(count, count, count, fast)


def cpuinfo() -> str:
    """Two packages of three cores with two threads each."""
    numbers = itertools.product(range(2), (0, 1), (0, 1, 2))  # threads, packages, cores
    return "\n\n".join(
        f"processor\t: {i}\nmodel name\t: Intel(R) Xeon(R) CPU\nphysical id\t: {package}\ncore id\t\t: {core}"
        for i, (_, package, core) in enumerate(numbers)
    )


def test_cpuinfo_where_there_is_no_topology(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/cpuinfo": cpuinfo()})
    assert read_cores(tmp_path, range(12)) == Cores(6, 12, 6, 6)
    assert read_cores(tmp_path, (0, 1, 6)) == Cores(6, 3, 2, 2)  # 0 and 6 are threads of one core


def test_cores_that_nothing_names(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1"})  # as on Arm
    assert read_cores(tmp_path, range(2)) == Cores(None, 2, None, None)


def test_a_process_kept_to_one_core_sees_one() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system keeps no process to a core")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from omnilmm_lite.machine.cores import read_cores\n"
        "from omnilmm_lite.machine.threads import default_threads\n"
        "print(read_cores().usable, default_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_apples_levels() -> None:
    m1_pro = {"hw.physicalcpu": 10, "hw.perflevel0.physicalcpu": 8}
    found = apple_cores(m1_pro.get)
    assert (found.physical, found.worthwhile) == (10, 8)
    assert apple_cores({"hw.physicalcpu": 4}.get).worthwhile == 4  # Intel's
    nothing: dict[str, int] = {}
    assert apple_cores(nothing.get).worthwhile is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", {0}), ("0-3", {0, 1, 2, 3}), ("0,2-3,9", {0, 2, 3, 9}), ("", set()), ("3-1", set()), ("0-999999999", set())],
)
def test_lists_of_processors(text: str, numbers: set[int]) -> None:
    assert parse_list(text) == numbers


@given(st.sets(st.integers(0, 4095), min_size=1))
def test_lists_come_back(numbers: set[int]) -> None:
    assert parse_list(",".join(map(str, sorted(numbers)))) == numbers


@given(st.text() | st.text("0123456789-,", max_size=12))
def test_any_text_makes_a_list_or_none(text: str) -> None:
    assert all(number < 1 << 16 for number in parse_list(text))


# ---- threads ----


@pytest.mark.parametrize(
    ("cores", "quota", "threads"),
    [
        (Cores(2, 2, 2, 2), None, 2),
        (Cores(2, 2, 2, 2), 0.5, 1),
        (Cores(8, 16, 8, 8), 2.0, 2),
        (Cores(8, 16, 8, 8), 2.5, 3),
        (Cores(8, 16, 8, 8), 64.0, 8),
        (Cores(12, 16, 12, 4), None, 4),
        (Cores(12, 16, 12, 4), 6.0, 4),
        (Cores(None, 4, None, None), 8.0, 4),
        (Cores(None, 4, None, None), None, None),
        (Cores(None, None, None, None), 1.5, 2),
    ],
)
def test_threads(cores: Cores, quota: float | None, threads: int | None) -> None:
    assert threads_for(cores, quota) == threads


# ---- instruction sets ----

# From processors' own /proc/cpuinfo, shortened.
FLAGS = {
    "flags\t\t: fpu sse4_2 avx f16c rdrand avx2 fma bmi2": (("sse4_2", "avx2", "fma"), False),  # Haswell
    "flags\t\t: fpu sse4_2 popcnt": (("sse4_2",), False),  # Nehalem
    "flags\t\t: fpu sse4_2 fma avx2 avx_vnni gfni": (("sse4_2", "avx2", "fma", "avx_vnni"), True),  # Alder Lake
    "flags\t\t: sse4_2 avx2 fma avx512f avx512bw avx512vl": (("sse4_2", "avx2", "fma", "avx512f"), False),  # Skylake-X
    "flags\t\t: avx512f avx512_vnni amx_bf16 amx_tile amx_int8": (
        ("avx512f", "avx512_vnni", "amx_int8", "amx_bf16"),
        True,
    ),
    "Features\t: fp asimd evtstrm crc32 cpuid": (("asimd",), False),  # Cortex-A72
    "Features\t: fp asimd asimdhp asimddp": (("asimd", "asimddp"), True),  # Cortex-A76
    "Features\t: fp asimd asimddp sve i8mm bf16": (("asimd", "asimddp", "sve", "i8mm", "bf16"), True),  # Neoverse V1
}


@pytest.mark.parametrize("line", FLAGS)
def test_instruction_sets(tmp_path: Path, line: str) -> None:
    flags, has_dot_products = FLAGS[line]
    write_files(tmp_path, {"proc/cpuinfo": f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}"})
    assert instruction_sets(tmp_path) == flags
    assert has_int8_dot_products(flags) is has_dot_products


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    assert instruction_sets(tmp_path) == ()
    assert has_int8_dot_products(()) is None
    assert last_level_cache_bytes(tmp_path) == 0
    assert read_cores(tmp_path, ()).physical is None
    assert processor_name(tmp_path)


def test_name_and_cache(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/cpuinfo": cpuinfo(), f"{CPUS}/cpu0/cache/index3/size": "32768K"})
    assert processor_name(tmp_path) == "Intel(R) Xeon(R) CPU"
    assert last_level_cache_bytes(tmp_path) == 32 << 20
