"""Mapped weights brought into memory at once: what the system itself says is mapped afterwards."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnilmm_lite.engine.interrupt import Interrupt, interruptible
from omnilmm_lite.engine.pages import paging
from omnilmm_lite.engine.pages.paging import CHUNK, populate, read_ahead
from omnilmm_lite.machine import memory
from tests.systems import linux_alone, make_pipe

PAGES = 700
SIZE = PAGES * mmap.PAGESIZE
WILLNEED = 3  # POSIX_FADV_WILLNEED of Linux's include/uapi/linux/fadvise.h

pytestmark = linux_alone


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Path]:
    """A file with a space in its name, mapped twice, none of its pages touched."""
    file = tmp_path / "the weights.data"
    file.write_bytes(os.urandom(SIZE))
    with file.open("rb") as opened:
        maps = [mmap.mmap(opened.fileno(), SIZE, access=mmap.ACCESS_READ) for _ in range(2)]
        yield file
        for each in maps:
            each.close()


def resident(file: Path) -> list[int]:
    """Bytes of each of the file's mappings that are mapped, by the kernel's own account (proc_pid_smaps(5))."""
    found: list[int] = []
    is_ours = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        if "-" in line.split(" ")[0]:
            is_ours = line.endswith(str(file))
        elif is_ours and line.startswith("Rss:"):
            found.append(1024 * int(line.split()[1]))
    return found


def test_all_pages_of_all_mappings_are_there(mapped: Path) -> None:
    assert resident(mapped) == [0, 0]
    populate(mapped)
    assert resident(mapped) == [SIZE, SIZE]


def test_it_looks_through_links(mapped: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(mapped)
    populate(link)
    assert resident(mapped) == [SIZE, SIZE]


def test_what_has_no_room_stays_as_it_is(mapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "available_bytes", lambda: 2 * SIZE - 1)
    populate(mapped)
    assert resident(mapped) == [0, 0]


def test_other_files_are_nothing_to_it(tmp_path: Path) -> None:
    populate(tmp_path / "nowhere")
    read_ahead(tmp_path / "nowhere")


def test_an_interrupt_ends_it_between_two_chunks(mapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt, calls = Interrupt(), []

    def madvise(start: int, length: int, advice: int) -> None:
        calls.append(length)
        interrupt.set()

    monkeypatch.setattr(paging, "CHUNK", SIZE // 4)
    monkeypatch.setattr(paging, "_madvise", lambda: madvise)
    with interruptible(interrupt):
        populate(mapped)
    assert calls == [SIZE // 4]


def test_an_old_kernel_is_no_error(mapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MADV_POPULATE_READ", 1 << 20)  # no advice that any kernel knows
    populate(mapped)
    assert resident(mapped) == [0, 0]


def test_reading_ahead_covers_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights"
    with file.open("wb") as opened:
        opened.truncate(2 * CHUNK + 5)
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: asked.append((start, length, advice)))
    read_ahead(file)
    assert asked == [(start, length, WILLNEED) for start, length in ((0, CHUNK), (CHUNK, CHUNK), (2 * CHUNK, 5))]


def test_a_pipe_in_the_files_place_is_not_waited_for(tmp_path: Path) -> None:
    make_pipe(tmp_path / "weights")
    read_ahead(tmp_path / "weights")


def test_available_memory_is_some_of_it_all() -> None:
    available = memory.available_bytes()
    assert available is not None
    if sys.platform != "win32":  # where there is no such function, says mypy
        assert 0 < available < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
