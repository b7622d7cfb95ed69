"""One trial of a command: what is done to it, and whether it ended as if nothing had been."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills.task import Task

HANGS_S = 1800.0


@dataclass(frozen=True)
class Clean:
    """A run that nothing happened to."""

    result: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Trial:
    """`faults`: lines on what was wrong; none where all was well. `hits`: kills, or refusals of a second run."""

    hits: int
    faults: tuple[str, ...]


def clean_run(task: Task) -> Clean:
    with _folder() as folder:
        started = time.monotonic()
        code, error = _wait(task.start(folder))
        if code:
            raise SystemExit(f"{task.name}: the command fails by itself: {error}")
        return Clean(task.result(folder), time.monotonic() - started)


def killed(task: Task, clean: Clean, rng: random.Random) -> Trial:
    """SIGKILL at random moments, again and again, until a run comes to its end before its moment."""
    hits = 0
    with _folder() as folder:
        while True:
            process = task.start(folder)
            try:
                process.wait(rng.uniform(0, 1.2 * clean.seconds))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                hits += 1
        # it may have been killed between giving the bundle its name and its own end
        return Trial(hits, _faults(task, folder, clean, *_wait(process), again=hits > 0))


def twice(task: Task, clean: Clean, rng: random.Random) -> Trial:
    """Twice at once, the second a moment behind the first: one does the work, the other does nothing but say so."""
    with _folder() as folder:
        first = task.start(folder)
        time.sleep(rng.uniform(0, 0.8 * clean.seconds))
        second = task.start(folder)
        ends = [_wait(first), _wait(second)]
        faults = [line for code, error in ends for line in _refusal_faults(code, error)]
        if all(code for code, _ in ends):
            faults.append("neither of the two did it")
        refused = sum(code == 2 for code, _ in ends)
        return Trial(refused, (*faults, *_faults(task, folder, clean, 0, "")))


def full_disk(task: Task, clean: Clean, rng: random.Random) -> Trial:
    """No file may grow beyond a random size, in place of a disk that is full: an error in the middle of writing. Then
    there is room again."""
    with _folder() as folder:
        limit = int(10 ** rng.uniform(3, 6.5))
        code, error = _wait(task.start(folder, file_bytes=limit))
        faults = [f"with files of {limit} bytes: {line}" for line in _one_line(code, error)] if code else []
        return Trial(
            int(code != 0), (*faults, *_faults(task, folder, clean, *_wait(task.start(folder)), again=not code))
        )


def _faults(task: Task, folder: Path, clean: Clean, code: int, error: str, *, again: bool = False) -> tuple[str, ...]:
    """`again`: the place was taken already, by a run that went well."""
    faults = [] if code == 0 or (again and code == 2) else [f"ended with {code}: {error[-300:]}"]
    found = task.result(folder) if (folder / task.out).exists() else {}
    faults += [f"{name} differs" for name in clean.result if found.get(name) != clean.result[name]]
    faults += [f"{name} is left" for name in task.leftovers(folder)]
    return tuple(faults)


def _refusal_faults(code: int, error: str) -> list[str]:
    return [] if code in (0, 2) and "Traceback" not in error else [f"ended with {code}: {error[-300:]}"]


def _one_line(code: int, error: str) -> list[str]:
    said = [line for line in error.splitlines() if line.startswith("omnilmm-lite: ")]
    right = code in (1, 2) and len(said) == 1 and "Traceback" not in error and "mistake of this program" not in error
    return [] if right else [f"ended with {code}: {error[-300:]}"]


def _wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, error = process.communicate(timeout=HANGS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return -1, f"it hangs; {process.communicate()[1]}"
    return process.returncode, error or ""


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if sys.platform == "win32":
    raise SystemExit("benchmarks.kills needs signals and limits that Windows doesn't have")
