"""`python -m benchmarks.kills [WORD ...]`: the tasks of these names alone, or those whose name holds one of the words.

Real processes of the real commands, on the checkpoint of the built-in model: killed at random moments and started
again, started twice at once, stopped by a full disk. Each must end with the very bytes of a run that nothing happened
to, leave nothing behind and say one line. Then pairs of different commands that write to one place. Prints Markdown
tables, and its seed; ends with 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.kills.small_disk import enter_own_mounts
from benchmarks.kills.task import PAIRS, TASKS, Pair, Task, convert
from benchmarks.kills.trials import Clean, Trial, at_once, clean_run, full_disk, kill_moments, killed, own_folder, twice

Item = TypeVar("Item", Task, Pair)
Way = Callable[[Task, Clean, random.Random, Path], Trial]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--kills", type=int, default=25, metavar="N", help="of each task, 3 at least (default: 25)")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="runs twice at once (default: 5)")
    parser.add_argument("--disks", type=int, default=5, metavar="N", help="full disks (default: 5)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args(argv)
    if args.kills < 3:
        parser.error("--kills: give 3 at least")
    tasks, pairs = _named(TASKS, args.words), _named(PAIRS, args.words)
    wrong = 0
    print(f"seed {args.seed}", flush=True)
    with own_folder() as folder:
        gptq = _gptq_folder(folder) if any("{gptq}" in task.words for task in tasks) else folder
        if tasks:
            print("\n| command | seconds | kills | runs killed | twice at once | full disks | wrong |")
            print("|---|---|---|---|---|---|---|", flush=True)
        for task in tasks:  # each with a seed of its own: a task alone meets what it meets among others
            rng = random.Random(f"{args.seed} {task.name}")
            wrong += _try(task, args.kills, args.pairs, args.disks, rng, gptq)
        if pairs:
            print("\n| two commands at once | times | turned away | wrong |\n|---|---|---|---|", flush=True)
        for pair in pairs:
            wrong += _try_pair(pair, args.pairs, random.Random(f"{args.seed} {pair.name}"), gptq)
    return 1 if wrong else 0


def _named(items: Sequence[Item], words: Sequence[str]) -> list[Item]:
    names = {task.name for task in TASKS} | {pair.name for pair in PAIRS}

    def is_meant(name: str) -> bool:
        return any(word == name or (word not in names and word in name) for word in words)

    return [item for item in items if not words or is_meant(item.name)]


def _gptq_folder(folder: Path) -> Path:
    """What `--gptq` takes, by a run that nothing happens to."""
    task = convert("cpu-small")
    _, error = (process := task.start(folder, folder)).communicate()
    if process.returncode:
        raise SystemExit(f"no GPTQ folder: {error}")
    return folder / f"{task.out}.work" / "gptq"


def _try(task: Task, kills: int, pairs: int, disks: int, rng: random.Random, gptq: Path) -> int:
    """How much was wrong; prints a row."""
    clean = clean_run(task, gptq)
    faults: list[str] = []
    hits = runs = 0
    moments = kill_moments(kills, clean.seconds, rng)
    while moments:
        trial = killed(task, clean, moments, gptq)
        hits, runs = hits + trial.hits, runs + bool(trial.hits)
        faults += trial.faults
    refused = _repeat(twice, pairs, task, clean, rng, gptq, faults)
    full = _repeat(full_disk, disks, task, clean, rng, gptq, faults)
    cells = f"{clean.seconds:.1f} | {hits} | {runs} | {pairs}, {refused} refused | {disks}, {full} met | {len(faults)}"
    print(f"| `{task.name}` | {cells} |", flush=True)
    return _complain(task.name, faults)


def _try_pair(pair: Pair, times: int, rng: random.Random, gptq: Path) -> int:
    """Likewise."""
    cleans = clean_run(pair.first, gptq), clean_run(pair.second, gptq)
    trials = [at_once(pair, cleans, rng, gptq) for _ in range(times)]
    faults = [line for trial in trials for line in trial.faults]
    print(f"| {pair.name} | {times} | {sum(trial.hits for trial in trials)} | {len(faults)} |", flush=True)
    return _complain(pair.name, faults)


def _repeat(way: Way, times: int, task: Task, clean: Clean, rng: random.Random, gptq: Path, faults: list[str]) -> int:
    trials = [way(task, clean, rng, gptq) for _ in range(times)]
    faults += [line for trial in trials for line in trial.faults]
    return sum(trial.hits for trial in trials)


def _complain(name: str, faults: Sequence[str]) -> int:
    for line in faults:
        print(f"{name}: {line}", file=sys.stderr, flush=True)
    return len(faults)


if __name__ == "__main__":
    if os.name == "nt":
        raise SystemExit("benchmarks.kills needs signals and limits that Windows doesn't have")
    enter_own_mounts()
    sys.exit(main())
