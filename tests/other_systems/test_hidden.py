"""What is hidden really is, from this project's modules alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.systems import IS_WINDOWS, PLATFORM

pytestmark = pytest.mark.skipif(sys.platform == PLATFORM, reason="nothing is hidden: see tests/other_systems/plugin.py")
on_windows = pytest.mark.skipif(not IS_WINDOWS, reason="Windows alone refuses this")


def imported(statement: str, importer: str = "omnilmm_lite.probe") -> Any:
    """What the statement binds in a module of that name."""
    namespace: dict[str, Any] = {"__name__": importer}
    exec(statement, namespace)
    return next(value for name, value in namespace.items() if not name.startswith("__"))


def test_the_system_is_another_one() -> None:
    assert imported("import sys").platform == PLATFORM
    assert imported("import sys", "uvicorn.probe").platform == sys.platform


@on_windows
@pytest.mark.parametrize("module", ["fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "readline", "curses"])
def test_modules_that_windows_has_not(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{module}'"):
        imported(f"import {module}")
    assert imported(f"import {module}", "subprocess").__name__ == module


@pytest.mark.parametrize(
    ("module", "name", "on_macos"),
    [
        ("os", "sched_getaffinity", False),
        ("os", "posix_fadvise", False),
        ("os", "fork", True),
        ("os", "geteuid", True),
        ("os", "sysconf", True),
        ("os", "pwrite", True),
        ("signal", "SIGKILL", True),
        ("select", "poll", True),
        ("select", "epoll", False),
        ("socket", "AF_UNIX", True),
        ("mmap", "PROT_READ", True),
    ],
)
def test_names_that_are_not_there(module: str, name: str, on_macos: bool) -> None:
    is_there = on_macos and PLATFORM == "darwin"
    assert hasattr(imported(f"import {module}"), name) is is_there
    assert hasattr(imported(f"import {module}", "tests.probe"), name)


@pytest.mark.parametrize("path", ["/proc/self/status", "/proc/cpuinfo", "/sys/devices/system/cpu/online"])
def test_files_of_linux(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        Path(path).read_text(encoding="utf-8")


@on_windows
def test_what_is_in_use_stays(tmp_path: Path) -> None:
    used, free = tmp_path / "used", tmp_path / "free"
    free.touch()
    with used.open("w"):
        for use in (used.unlink, lambda: used.rename(free), lambda: free.replace(used)):
            with pytest.raises(PermissionError):
                use()
        with pytest.raises(PermissionError):
            tmp_path.rename(tmp_path.with_name("moved"))
    used.replace(free)


@on_windows
@pytest.mark.parametrize("name", ["a:b", "what?", "two\nlines", "con", "NUL.txt", "dot.", "space "])
def test_names_that_no_file_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="no file can be called that"):
        (tmp_path / name).touch()


@on_windows
def test_folders_are_not_opened_and_what_is_only_read_is_not_flushed(tmp_path: Path) -> None:
    there, file = imported("import os"), tmp_path / "file"
    with pytest.raises(PermissionError):
        there.open(tmp_path, os.O_RDONLY)
    file.touch()
    with file.open("rb") as opened, pytest.raises(OSError):
        there.fsync(opened.fileno())
    with file.open("ab") as opened:
        there.fsync(opened.fileno())
