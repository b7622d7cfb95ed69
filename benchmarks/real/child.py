"""A step in a process of its own: how long it took, by stage, and the most memory it had."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.memory import RUSAGE_UNIT

ROOT = Path(__file__).parent.parent.parent
GRACE_S = 20  # for one that is to end
# What ConsoleProgress writes where it is no terminal; a folder in it would make each run's names its own.
STAGE = re.compile(r"(.+?)(?:, which needs .+)? \(\d+ steps\)")


@dataclass(frozen=True)
class Finished:
    """`stages`: seconds of each, in their order; what comes before the first is left out."""

    seconds: float
    peak_rss_bytes: int
    stages: dict[str, float]
    stdout: str


def run(command: Sequence[str | Path], log: Path, show: Callable[[str], None]) -> Finished:
    """Runs it to its end. Each line on its standard error goes to `log` and, as it comes, to `show`.

    The peak is what the system has counted for the process (and those it started and waited for); it begins with what
    this process had when it started it, which is why this one loads nothing large. OmniLMMError, with its last line,
    where it failed.
    """
    started = time.perf_counter()
    lines: list[tuple[float, str]] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stdout, log.open("w", encoding="utf-8") as kept:
        child = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        try:
            assert child.stderr is not None
            for line in child.stderr:
                lines.append((time.perf_counter() - started, line.rstrip("\n")))
                kept.write(line)
                kept.flush()
                show(lines[-1][1])
            code, peak = _wait(child)
        except BaseException:
            _end(child)
            raise
        seconds = time.perf_counter() - started
        if code:
            last = lines[-1][1] if lines else f"exit code {code}"
            raise OmniLMMError(f"{last} (all it said is in {log})")
        stdout.seek(0)
        return Finished(seconds, peak, stage_seconds(lines, seconds), stdout.read())


def _wait(child: subprocess.Popen[str]) -> tuple[int, int]:
    """The exit code, and the peak in bytes; 0 where the system doesn't tell (Windows)."""
    peak = 0
    if sys.platform != "win32":
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)  # or the Popen would wait for it, too
        peak = usage.ru_maxrss * RUSAGE_UNIT
    return child.wait(), peak


def _end(child: subprocess.Popen[str]) -> None:
    """As Ctrl-C does, which the terminal may have sent it already."""
    if sys.platform == "win32":  # where no process can send it to a single other one
        child.terminate()
    else:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:  # what a shell started in the background ignores it
        child.kill()
        child.wait()


def stage_seconds(lines: Sequence[tuple[float, str]], end: float) -> dict[str, float]:
    """From when each stage was announced until the next was. `lines`: when they came, and what they said."""
    begun = [(when, match[1]) for when, line in lines if (match := STAGE.fullmatch(line))]
    found: dict[str, float] = {}
    for (when, name), (until, _) in pairwise([*begun, (end, "")]):
        found[name] = found.get(name, 0.0) + until - when
    return found
