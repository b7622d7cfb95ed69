"""What Ray costs: `python -m benchmarks.scale.throughput`, in an environment with Ray.

The same pictures, described in turns by one process with a thread a core, by a process a core without Ray (`--shard`,
one thread each), and by a cluster with a worker a core: the whole commands' seconds, and the pictures a second between
a run's first rows and its last, which leaves starting out. Each figure is the median of the turns; the machine's load
is printed with it, as others may be at work there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale.drawn import draw
from benchmarks.scale.kills import OPTIONS, PROGRAM, rows

BATCH = 64
ALONE, SHARDS, RAY = "one process", "a process a core", "Ray"
SHARE = (0.2, 0.9)  # of the rows, between which the speed is taken


@dataclass(frozen=True)
class Program:
    """`place`: what it writes."""

    command: list[str]
    place: Path


@dataclass(frozen=True)
class Turn:
    """`speed`: pictures a second, once it runs; `cpu_s`: processor seconds of the command's own process for each."""

    seconds: float
    speed: float
    cpu_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=4000, metavar="N")
    parser.add_argument("--turns", type=int, default=3, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="cores")
    args = parser.parse_args()
    turns: dict[str, list[Turn]] = {}
    with tempfile.TemporaryDirectory(prefix="scale-") as work:
        pictures = Path(work, "pictures")
        draw(pictures, args.pictures)
        command = [*PROGRAM, "caption", str(pictures), *OPTIONS]
        for number in range(args.turns):
            for name, programs in _programs(command, Path(work, str(number)), args.workers).items():
                turn = _turn(programs, args.pictures)
                turns.setdefault(name, []).append(turn)
                print(f"{name}: {turn.seconds:.1f} s, {turn.speed:.1f} pictures/s; load {_load()}", flush=True)
            shutil.rmtree(Path(work, str(number)))
    _report(turns)
    return 0


def _programs(command: list[str], folder: Path, workers: int) -> dict[str, list[Program]]:
    """What runs at once, by name."""
    folder.mkdir()
    alone, out = folder / "alone.jsonl", folder / "out"
    shards = [folder / f"{number}.jsonl" for number in range(1, workers + 1)]
    ray = ["--ray", "--workers", str(workers), "--threads", "1", "--batch", str(BATCH), "-o", str(out)]
    return {
        ALONE: [Program([*command, "--threads", str(workers), "-o", str(alone)], alone)],
        SHARDS: [
            Program([*command, "--threads", "1", "--shard", f"{number}/{workers}", "-o", str(place)], place)
            for number, place in enumerate(shards, start=1)
        ],
        RAY: [Program([*command, *ray], out)],
    }


def _turn(programs: list[Program], count: int) -> Turn:
    started = time.perf_counter()
    running = [subprocess.Popen(each.command, stderr=subprocess.DEVNULL) for each in programs]
    seen: list[tuple[float, int, float]] = []
    while any(each.poll() is None for each in running):
        time.sleep(0.25)
        done = sum(rows(each.place).total() for each in programs if each.place.exists())
        seen.append((time.perf_counter(), done, sum(_cpu_s(each.pid) for each in running)))
    seconds = time.perf_counter() - started
    if any(each.returncode for each in running):
        raise SystemExit(f"{' '.join(programs[0].command)}: it failed")
    steady = [each for each in seen if SHARE[0] * count <= each[1] <= SHARE[1] * count]
    (first, low, cpu_low), (last, high, cpu_high) = steady[0], steady[-1]
    return Turn(seconds, (high - low) / (last - first), (cpu_high - cpu_low) / (high - low))


def _cpu_s(pid: int) -> float:
    """0 where it has just ended, and where no /proc says it."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
            return sum(map(int, ticks)) / float(os.sysconf("SC_CLK_TCK"))
    return 0.0


def _load() -> str:
    found = "unknown"
    if sys.platform != "win32":
        found = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return found


def _report(turns: dict[str, list[Turn]]) -> None:
    speeds = {name: statistics.median(turn.speed for turn in each) for name, each in turns.items()}
    seconds = {name: statistics.median(turn.seconds for turn in each) for name, each in turns.items()}
    for name in (ALONE, SHARDS):
        ratio, more = speeds[RAY] / speeds[name], seconds[RAY] - seconds[name]
        print(f"Ray against {name}: {ratio:.2f} times the pictures a second once it runs; the command {more:+.1f} s")
    driver = statistics.median(turn.cpu_s for turn in turns[RAY])
    print(f"the driver: {BATCH * driver:.3f} processor seconds a batch of {BATCH}")


if __name__ == "__main__":
    sys.exit(main())
