"""`python -m benchmarks.soak --minutes 60`: one server, clients of every kind, for as long.

A real `omnilmm-lite serve` with the built-in model; clients that ask, stream, close their half, read slowly, leave,
send damaged and hostile pictures, nonsense, or nothing, each of them again and again in a random order; and somebody
who kills the processes that decode pictures. Every answer is compared with the one that a single quiet client got
before. The server's memory, open files and threads are looked at all the time. Prints Markdown tables and the seed;
ends with 1 where anything was wrong. Linux alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.soak.clients import KINDS, World
from benchmarks.soak.exchange import exchanged, post
from benchmarks.soak.questions import bad_pictures, bad_requests, good_questions
from benchmarks.soak.samples import MIB, Sample, Trend, sample, samples_until, trend
from benchmarks.soak.server import Server, ended, kill_helpers, server
from benchmarks.soak.tally import Tally
from omnilmm_lite.serve.answering.desk import CHECKED_AT_ONCE, FETCHED_AT_ONCE

WARM_UP_S = 10.0  # until all threads are there, and the picture cache is full
QUIET_S = 5.0  # until nobody's connection is left
GROWTH, GROWTH_BYTES = 0.05, 8 * MIB  # of the resident memory, from the first quarter to the last
SAMPLES = 200  # at least, in a run


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=16, metavar="N")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="answers at once (default: 1)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, the samples too")
    args = parser.parse_args(argv)
    print(f"seed {args.seed}, {args.clients} clients, {args.parallel} at once, {args.minutes:g} minutes\n", flush=True)
    tally = Tally()
    with server(args.parallel) as served:
        questions = good_questions(served.address)
        world = World(served.address, questions, bad_pictures(), bad_requests())
        _run(served, world, tally, args, WARM_UP_S)
        before = _when_quiet(served, world)
        samples, killed = _run(served, world, tally, args, 60 * args.minutes)
        after = _when_quiet(served, world)
        trends = {name: trend(samples, name) for name in ("server_bytes", "helpers_bytes", "files", "threads")}
        faults = [*tally.faults, *_grown(trends["server_bytes"], before, after), *served.complaints()]
        faults += ended(served)
        faults += [f"while ending: {line}" for line in served.complaints() if line not in faults]
    _show(tally, trends, before, after, killed)
    if args.json is not None:
        _write(args.json, args.seed, tally, samples, trends, faults)
    for line in faults:
        print(line, file=sys.stderr)
    return 1 if faults or tally.wrong else 0


def _run(
    served: Server, world: World, tally: Tally, args: argparse.Namespace, seconds: float
) -> tuple[list[Sample], int]:
    """The samples, and how many helpers were killed."""
    over, until = threading.Event(), time.monotonic() + seconds
    rng = random.Random(args.seed)
    with ThreadPoolExecutor(args.clients + 2) as threads:
        sampling = threads.submit(samples_until, served, over, min(3.0, seconds / SAMPLES))
        killing = threads.submit(kill_helpers, served, random.Random(rng.random()), over)
        clients = [
            threads.submit(_client, world, tally, random.Random(rng.random()), until) for _ in range(args.clients)
        ]
        try:
            for each in clients:
                each.result()
        finally:
            over.set()
        return sampling.result(), killing.result()


def _when_quiet(served: Server, world: World) -> Sample:
    time.sleep(QUIET_S)
    question = next(each for each in world.questions if each.has_picture)
    exchanged(served.address, post(served.address, question.body))  # so that there is a helper, with its two pipes
    return sample(served, time.monotonic())


def _client(world: World, tally: Tally, rng: random.Random, until: float) -> None:
    names, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    while time.monotonic() < until:
        (kind,) = rng.choices(names, weights)
        started = time.monotonic()
        try:
            status, fault = KINDS[kind][0](world, rng)
        except Exception as error:  # a connection that was cut, or something that nobody thought of
            status, fault = 0, f"{type(error).__name__}: {error}"
        tally.add(kind, status, fault, time.monotonic() - started)


def _grown(memory: Trend, before: Sample, after: Sample) -> list[str]:
    """What is larger than it was, once all is quiet again."""
    faults = []
    if memory.last - memory.first > max(GROWTH * memory.first, GROWTH_BYTES):
        faults.append(f"the server's memory grew from {memory.first / MIB:.0f} to {memory.last / MIB:.0f} MiB")
    if after.files > before.files:
        faults.append(f"{after.files} files are open, {before.files} were before")
    if after.threads > before.threads + FETCHED_AT_ONCE + CHECKED_AT_ONCE:  # which are started when they are needed
        faults.append(f"{after.threads} threads are left, {before.threads} were before")
    return faults


def _show(tally: Tally, trends: dict[str, Trend], before: Sample, after: Sample, killed: int) -> None:
    print("| client | times | wrong | statuses | median, s |\n|---|---|---|---|---|")
    for row in tally.rows():
        statuses = ", ".join(f"{count}x {status}" for status, count in row["statuses"].items() if status != "0")
        print(f"| {row['client']} | {row['times']} | {row['wrong']} | {statuses} | {row['median_s']} |")
    print(f"| all | {tally.total} | {tally.wrong} | | |\n")
    print("| | before | first quarter | last quarter | most | an hour | after |\n|---|---|---|---|---|---|---|")
    for name, title, unit in (("server_bytes", "server, MiB", MIB), ("helpers_bytes", "helpers, MiB", MIB),
                              ("files", "open files", 1), ("threads", "threads", 1)):  # fmt: skip
        each = trends[name]
        cells = (getattr(before, name), each.first, each.last, each.most, each.per_hour, getattr(after, name))
        print(f"| {title} | " + " | ".join(f"{value / unit:.1f}" for value in cells) + " |")
    print(f"\n{killed} helpers were killed.", flush=True)


def _write(
    path: Path, seed: int, tally: Tally, samples: list[Sample], trends: dict[str, Trend], faults: list[str]
) -> None:
    figures: dict[str, Any] = {
        "seed": seed,
        "clients": tally.rows(),
        "trends": {name: dataclasses.asdict(each) for name, each in trends.items()},
        "samples": [dataclasses.asdict(each) for each in samples],
        "faults": faults,
    }
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
