"""`python -m benchmarks.kills [WORD ...]`: those tasks alone whose name holds one of the words.

Real processes of the real commands, on the checkpoint of the built-in model: killed at random moments and started
again, started twice at once, stopped by a full disk. Each must end with the very bytes of a run that nothing happened
to, leave nothing behind and say one line. Prints a Markdown table, and its seed; ends with 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.kills.task import TASKS, Task
from benchmarks.kills.trials import Clean, Trial, clean_run, full_disk, killed, twice

Way = Callable[[Task, Clean, random.Random], Trial]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--kills", type=int, default=25, metavar="N", help="of each task, at least (default: 25)")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="runs twice at once (default: 5)")
    parser.add_argument("--disks", type=int, default=5, metavar="N", help="full disks (default: 5)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    print(f"seed {args.seed}\n\n| command | seconds | kills | runs killed | twice at once | full disks | wrong |")
    print("|---|---|---|---|---|---|---|", flush=True)
    wrong = 0
    for task in TASKS:
        if not args.words or any(word in task.name for word in args.words):
            wrong += _try(task, args.kills, args.pairs, args.disks, rng)
    return 1 if wrong else 0


def _try(task: Task, kills: int, pairs: int, disks: int, rng: random.Random) -> int:
    """How much was wrong; prints a row."""
    clean = clean_run(task)
    faults: list[str] = []
    hits = runs = 0
    while hits < kills:
        trial = killed(task, clean, rng)
        hits, runs = hits + trial.hits, runs + 1
        faults += trial.faults
    refused = _repeat(twice, pairs, task, clean, rng, faults)
    full = _repeat(full_disk, disks, task, clean, rng, faults)
    cells = f"{clean.seconds:.1f} | {hits} | {runs} | {pairs}, {refused} refused | {disks}, {full} met | {len(faults)}"
    print(f"| `{task.name}` | {cells} |", flush=True)
    for line in faults:
        print(f"{task.name}: {line}", file=sys.stderr, flush=True)
    return len(faults)


def _repeat(way: Way, times: int, task: Task, clean: Clean, rng: random.Random, faults: list[str]) -> int:
    trials = [way(task, clean, rng) for _ in range(times)]
    faults += [line for trial in trials for line in trial.faults]
    return sum(trial.hits for trial in trials)


if __name__ == "__main__":
    sys.exit(main())
