"""One trial of a command: what is done to it, and whether it ended as if nothing had been."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills.small_disk import filled, small_disk
from benchmarks.kills.task import Pair, Task, leftovers

HANGS_S = 1800.0
LOOKS_S = 0.002  # between two looks for OUT
AT_ITS_NAME = None  # a moment: as soon as OUT is there

Moment = float | None


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


def clean_run(task: Task, gptq: Path) -> Clean:
    with own_folder() as folder:
        started = time.monotonic()
        code, error = _wait(task.start(folder, gptq))
        if code:
            raise SystemExit(f"{task.name}: the command fails by itself: {error}")
        return Clean(task.result(folder), time.monotonic() - started)


def kill_moments(kills: int, seconds: float, rng: random.Random) -> list[Moment]:
    """So many: two as soon as OUT is there, the others spread evenly over a run, each at random within its share."""
    spread = [(index + rng.random()) / (kills - 2) * seconds for index in range(kills - 2)]
    moments: list[Moment] = [*spread, AT_ITS_NAME, AT_ITS_NAME]
    rng.shuffle(moments)
    return moments


def killed(task: Task, clean: Clean, moments: list[Moment], gptq: Path) -> Trial:
    """SIGKILL at the next moment, and the same command again with the one after it, until a run comes to its end before
    its moment, which stays for the next trial. Takes off what is done."""
    taken: list[Moment] = []
    with own_folder() as folder:
        while moments:
            process = task.start(folder, gptq)
            if not _kill_at(moments[0], process, folder / task.out):
                break
            taken.append(moments.pop(0))
        else:
            process = task.start(folder, gptq)
        code, error = _wait(process)
        if moments and not taken:  # a whole run was quicker than the one that was measured
            moments[0] = AT_ITS_NAME if moments[0] is AT_ITS_NAME else moments[0] * 0.9
        # a run that ends after its OUT was there says so; a kill is no damage
        faults = _faults(task, folder, clean, code, error)
        faults += [f"it calls something damaged: {error[-300:]}"] if "damaged" in error else []
        where = ", ".join("at its name" if moment is None else f"{moment:.2f} s" for moment in taken)
        return Trial(len(taken), tuple(f"{line} (killed: {where})" for line in faults))


def twice(task: Task, clean: Clean, rng: random.Random, gptq: Path) -> Trial:
    """Twice at once, the second a moment behind the first: one does the work, the other does nothing but say so."""
    with own_folder() as folder:
        first = task.start(folder, gptq)
        time.sleep(rng.uniform(0, 0.8 * clean.seconds))
        second = task.start(folder, gptq)
        ends = [_wait(first), _wait(second)]
        faults = [line for code, error in ends for line in _refusal_faults(code, error)]
        if all(code for code, _ in ends):
            faults.append("neither of the two did it")
        refused = sum(code == 2 for code, _ in ends)
        return Trial(refused, (*faults, *_faults(task, folder, clean, 0, "")))


def at_once(pair: Pair, cleans: tuple[Clean, Clean], rng: random.Random, gptq: Path) -> Trial:
    """Two different commands, either of them first; then whoever was turned away once more."""
    both = [*zip((pair.first, pair.second), cleans, strict=True)]
    rng.shuffle(both)
    with own_folder() as folder:
        processes = []
        for task, clean in both:
            processes.append(task.start(folder, gptq))
            time.sleep(rng.uniform(0, 0.8 * clean.seconds))
        ends = [_wait(process) for process in processes]
        faults = [line for code, error in ends for line in _refusal_faults(code, error)]
        turned_away = [each for each, (code, _) in zip(both, ends, strict=True) if code]
        if len(turned_away) == len(both):
            faults.append("neither of the two did it")
        for each, (code, _) in zip(both, ends, strict=True):
            if not code:
                faults += _faults(each[0], folder, each[1], 0, "")
        for task, clean in turned_away:
            code, error = _wait(task.start(folder, gptq))
            if pair.share_out:  # the other's
                faults += [] if code == 2 else [f"came again, and ended with {code}: {error[-300:]}"]
            else:
                faults += _faults(task, folder, clean, code, error)
        return Trial(len(turned_away), (*faults, *_left(folder)))


def full_disk(task: Task, clean: Clean, rng: random.Random, gptq: Path) -> Trial:
    """A disk that somebody else fills at a random moment; where none can be had, or by turns, no file may grow beyond a
    random size. Both are an error in the middle of writing. Then there is room again."""
    with small_disk() as disk, own_folder(disk) as folder:
        if disk is None or rng.random() < 0.5:
            limit = int(10 ** rng.uniform(2, 6.5))
            how, process = f"files of at most {limit} bytes", task.start(folder, gptq, file_bytes=limit)
            code, error = _wait(process)
        else:
            moment = rng.uniform(0, 1) * clean.seconds
            how, process = f"a disk that is full from {moment:.2f} s on", task.start(folder, gptq)
            with filled(disk, process, moment):
                code, error = _wait(process)
        faults = [f"with {how}: {line}" for line in _one_line(code, error)] if code else []
        again = _faults(task, folder, clean, *_wait(task.start(folder, gptq)))
        return Trial(int(code != 0), (*faults, *again))


def _kill_at(moment: Moment, process: subprocess.Popen[str], out: Path) -> bool:
    """False where the process came to its end before; it may not be waited for yet."""
    if moment is AT_ITS_NAME:
        if out.exists():  # as a killed run has left it
            return False
        while not out.exists():
            if process.poll() is not None:
                return False
            time.sleep(LOOKS_S)
    else:
        try:
            process.wait(moment)
            return False
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    process.communicate()
    return process.returncode != 0


def _faults(task: Task, folder: Path, clean: Clean, code: int, error: str) -> list[str]:
    faults = [] if code == 0 else [f"ended with {code}: {error[-300:]}"]
    found = task.result(folder)
    faults += [f"{name} differs" for name in clean.result | found if found.get(name) != clean.result.get(name)]
    return faults + _left(folder)


def _left(folder: Path) -> list[str]:
    return [f"{name} is left" for name in leftovers(folder)]


def _refusal_faults(code: int, error: str) -> list[str]:
    return _one_line(code, error) if code == 2 else [] if code == 0 else [f"ended with {code}: {error[-300:]}"]


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
def own_folder(inside: Path | None = None) -> Iterator[Path]:
    """An empty folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="kills-", dir=inside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
