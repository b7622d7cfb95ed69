"""A process of its own, which a limit of time ends together with all that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.card.run import ROOT

GRACE_S = 5.0
LINE_LENGTH = 300  # of what is quoted of a log


@dataclass(frozen=True)
class Ended:
    """`failure`: why it wasn't the end that was meant, in one line; None where all went well."""

    seconds: float
    failure: str | None = None


def start(command: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """The process, in a session of its own; all it says goes to `log`."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run(command: Sequence[str | Path], log: Path, limit_s: float) -> Ended:
    """Runs it to its end, or to its limit."""
    started = time.monotonic()
    child = start(command, log)
    try:
        code = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        end(child)
        return Ended(time.monotonic() - started, f"stopped at its limit of {limit_s:.0f} s; {last_line(log)}")
    except BaseException:
        end(child)
        raise
    seconds = time.monotonic() - started
    return Ended(seconds) if code == 0 else Ended(seconds, f"{_cause(code)}; {last_line(log)}")


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends it and what it has started; nothing where it has ended already."""
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        child.kill()
        child.wait()
    else:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
                break
        with contextlib.suppress(ProcessLookupError):  # what it had started may have outlived it
            os.killpg(child.pid, signal.SIGKILL)


def last_line(log: Path) -> str:
    """What it said last, short enough for a line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the last line of its log: {lines[-1].strip()[:LINE_LENGTH]}" if lines else "its log is empty"


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"
