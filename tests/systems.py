"""The system that the tests run on, and what not every one has: a test that needs it is skipped, and says so."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

# Or the one that this project's modules take it for: see tests/other_systems.
PLATFORM = os.environ.get("OMNILMM_TEST_AS", sys.platform)
IS_WINDOWS = PLATFORM == "win32"

# Programs of this project are started with it.
PYTHON = [sys.executable] if sys.platform == PLATFORM else [sys.executable, "-m", "tests.other_systems"]

linux_alone = pytest.mark.skipif(PLATFORM != "linux", reason="Linux alone does, or tells, this")
not_on_windows = pytest.mark.skipif(IS_WINDOWS, reason="Windows has no scripts of /bin/sh, modes or signals like these")

# For `subprocess`: a program started in the background, as CI may run, ignores SIGINT, and so would those it starts.
HEED_INTERRUPTS = {} if IS_WINDOWS else {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}

STATE_VARIABLE = "LOCALAPPDATA" if IS_WINDOWS else "XDG_STATE_HOME"  # names the folder for what a program keeps


def set_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("HOME", "USERPROFILE"):  # Windows' is the second
        monkeypatch.setenv(name, str(folder))


def odd_names() -> set[str]:
    """Of pictures, as far as a file may be called so."""
    names = {"~x.png", "[bold] [end.png", "-p.png", " .png", "日本.png"}
    if not IS_WINDOWS:
        names |= {"two\nlines.png", "a\\.png"}
    return names | ({os.fsdecode(b"\xff.png")} if PLATFORM == "linux" else set())  # where names are bytes


def make_pipe(path: Path) -> None:
    """A file that reading waits for."""
    if sys.platform == "win32":
        pytest.skip("Windows has no pipes among its files")
    else:
        os.mkfifo(path)


def open_terminal() -> tuple[int, int]:
    """Where somebody types, and what a program takes for its terminal; to be closed."""
    if sys.platform == "win32":
        pytest.skip("Windows' terminals can't be opened like this")
    else:
        return os.openpty()
