"""Fuzzes one target in this process, which may die of it: see tests/fuzz/campaign.py."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.attempt import OWN, attempt
from tests.fuzz.findings import Findings
from tests.fuzz.fuzz_target import FuzzTarget, load_target
from tests.fuzz.last_input import LAST_INPUT, LastInput
from tests.fuzz.mutations.mutation import mutated
from tests.fuzz.scratch import scratch

MEMORY = 2 << 30  # bytes, beside what is taken once all seeds were tried
NEVER = 1_000_000  # seconds
LONGEST_INPUT = 2 << 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    library = None if args.plain else _coverage_library()
    with library.instrument_imports(include=[*OWN]) if library else contextlib.nullcontext():
        target = load_target(args.target)
    findings, last = Findings(args.folder / "findings"), LastInput(scratch() / LAST_INPUT)

    def try_input(data: bytes) -> None:
        last.note(data)
        if (finding := attempt(target, data)) is not None:
            findings.add(data, finding)

    for seed in target.seeds:
        try_input(seed)
    _limit_memory()
    if library:
        _guided(library, target, try_input, args)
    else:
        _unguided(target, try_input, args.seconds, args.seed)


def _unguided(target: FuzzTarget, try_input: Callable[[bytes], None], seconds: int, seed: int) -> None:
    dice, end = Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        try_input(mutated(dice, target.seeds, target.form))


def _guided(library: Any, target: FuzzTarget, try_input: Callable[[bytes], None], args: argparse.Namespace) -> None:
    """What reaches new lines is kept, and changed further: half the time by our mutations, else by libFuzzer's own."""

    def change(data: bytes, longest: int, seed: int) -> bytes:
        dice = Random(seed)
        if dice.random() < 0.5:
            return bytes(library.Mutate(data, longest))
        return mutated(dice, [data, data, *target.seeds], target.form)[:longest]

    corpus = args.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": args.seconds,
        "seed": args.seed or 1,
        "timeout": NEVER,  # ours counts processor time, and others work here, too
        "rss_limit_mb": 0,  # the limit of addresses is ours, not libFuzzer's
        "max_len": LONGEST_INPUT,
        "artifact_prefix": f"{args.folder}{os.sep}",
        "print_final_stats": 1,
    }
    library.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)], try_input,
                  custom_mutator=change)  # fmt: skip
    library.Fuzz()


def _coverage_library() -> Any:
    """atheris; None where it isn't installed."""
    try:
        library: Any = importlib.import_module("atheris")
    except ImportError:
        return None
    return library


def _limit_memory() -> None:
    pages = Path("/proc/self/statm")
    if sys.platform != "win32" and pages.is_file():
        import resource

        taken = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))


if __name__ == "__main__":
    main()
