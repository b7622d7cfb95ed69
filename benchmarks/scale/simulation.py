"""One to a hundred workers, simulated: `python -m benchmarks.scale.simulation LINES.jsonl`.

LINES are what `caption` has written: each picture's time is drawn from what those took. `--mean` stretches them to
another model's. Everything else is said by options; what they are by default was seen on one machine. Printed: how much
of their time workers are at work on pictures, and what a lost worker costs with the finished rows kept, and without.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WORKERS = (1, 10, 100)


@dataclass(frozen=True)
class Plan:
    """`driver_s`: the driver's own time for a batch, one batch after the other. `between_h`: hours between two deaths
    of the same worker, `restart_s` until another one has loaded the model."""

    pictures: int
    batch: int
    driver_s: float
    between_h: float
    restart_s: float
    keeps_rows: bool = True


@dataclass(frozen=True)
class Outcome:
    """`share`: of the workers' time that went into rows; `again`: pictures that were described a second time."""

    hours: float
    share: float
    again: int


def simulate(times: Sequence[float], plan: Plan, workers: int, seed: int = 0) -> Outcome:
    """Workers take batches as they come free; the driver hands them out one by one."""
    chance = random.Random(seed)
    free = [(0.0, number) for number in range(workers)]
    dies = [chance.expovariate(1 / (plan.between_h * 3600)) for _ in range(workers)]
    driver, end, useful, again, left = 0.0, 0.0, 0.0, 0, plan.pictures
    while left > 0:
        now, worker = heapq.heappop(free)
        driver = now = max(now, driver) + plan.driver_s
        todo = [chance.choice(times) for _ in range(min(plan.batch, left))]
        left -= len(todo)
        useful += sum(todo)
        done = 0
        while done < len(todo):
            now += todo[done]
            if now >= dies[worker]:  # in this picture, which is lost
                again += 1 if plan.keeps_rows else done + 1
                done = done if plan.keeps_rows else 0
                now = max(now, dies[worker]) + plan.restart_s
                dies[worker] = now + chance.expovariate(1 / (plan.between_h * 3600))
            else:
                done += 1
        end = max(end, now)
        heapq.heappush(free, (now, worker))
    return Outcome(end / 3600, useful / (workers * end), again)


def measured(lines: Path) -> list[float]:
    """Seconds of each picture: its encoding, prompt and answer."""
    times = []
    for text in lines.read_text(encoding="utf-8").splitlines():
        timings = json.loads(text).get("timings")
        if timings is not None:
            times.append(sum(timings[name] for name in ("vision_s", "prefill_s", "decode_s")))
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, metavar="LINES")
    parser.add_argument("--mean", type=float, metavar="S", help="seconds a picture, by which all are stretched")
    parser.add_argument("--pictures", type=int, default=100_000, metavar="N")
    parser.add_argument("--batch", type=int, default=64, metavar="N")
    parser.add_argument("--driver-s", type=float, default=0.026, metavar="S", help="of the driver, for a batch")
    parser.add_argument("--between-h", type=float, default=10.0, metavar="H", help="between two deaths of a worker")
    parser.add_argument("--restart-s", type=float, default=60.0, metavar="S")
    args = parser.parse_args()
    times = measured(args.lines)
    factor = 1.0 if args.mean is None else args.mean / statistics.mean(times)
    times = [each * factor for each in times]
    print(f"{len(times)} times, mean {statistics.mean(times):.4f} s, most {max(times):.4f} s; batches of {args.batch}")
    print("| workers | hours | at work | described again | without keeping rows |\n|---|---|---|---|---|")
    for workers in WORKERS:
        told = []
        for keeps_rows in (True, False):
            plan = Plan(args.pictures, args.batch, args.driver_s, args.between_h, args.restart_s, keeps_rows)
            told.append(simulate(times, plan, workers))
        kept, lost = told
        row = f"{workers} | {kept.hours:.3f} | {kept.share:.1%} | {kept.again}"
        print(f"| {row} | {lost.again}, {lost.share:.1%} at work |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
