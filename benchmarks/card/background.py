"""Bundles are made while the card measures what needs none."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.card import child
from benchmarks.card.run import Run
from benchmarks.card.stage import Stage
from benchmarks.card.stages.build import BUILD
from benchmarks.card.synthetic import GB, WORKERS, all_bundles

SECONDS_A_GB = 6.0  # and process; on two cores of a server, busy with other work, 2026-11-29
SPARE = 1.05


@contextmanager
def building(run: Run, stages: Sequence[Stage]) -> Iterator[None]:
    """Makes what is missing of the bundles that the stages need; what isn't whole at the end of the block is gone."""
    run.build_ended.unlink(missing_ok=True)
    if not missing_bytes(run, stages):
        run.build_ended.touch()
        yield
        return
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.card.synthetic", run.work]
    process = child.start(command, run.log(BUILD))

    def watch() -> None:
        process.wait()
        run.build_ended.touch()  # whoever waits for a bundle sees that none will come any more

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        child.end(process)


def missing_bytes(run: Run, stages: Sequence[Stage]) -> int:
    """What the stages' bundles still take."""
    if not any(stage.needs_build for stage in stages):
        return 0
    return sum(bundles.missing_bytes for bundles in all_bundles(run))


def describe(run: Run, missing: int) -> str:
    """What is about to be made, where, and about how long it takes."""
    free = shutil.disk_usage(run.bundles).free
    seconds = SECONDS_A_GB * missing / GB / WORKERS
    return (
        f"random weights in the model's shapes: {missing / GB:.1f} GB in {run.bundles}, where {free / GB:.1f} GB are "
        f"free; about {max(10, seconds):.0f} s where {WORKERS} cores have nothing else to do"
    )


def lacks_room(run: Run, missing: int) -> str:
    """Why the bundles can't be made, or an empty string."""
    free = shutil.disk_usage(run.bundles).free
    if free >= SPARE * missing:
        return ""
    return (
        f"the bundles need {missing / GB:.1f} GB in {run.bundles}, and {free / GB:.1f} GB are free: make room, or give "
        "another folder with --bundles"
    )
