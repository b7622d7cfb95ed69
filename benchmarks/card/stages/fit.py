"""What fits into how much memory, by the project's own `bench --vram`: the peak beside the plan's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.card.card import holds
from benchmarks.card.device_memory import memory_in_use
from benchmarks.card.run import ROOT, Json, Run
from benchmarks.card.stages.agreement import Log
from benchmarks.card.stages.build import wait_for
from benchmarks.card.synthetic import FPA_INTB, full_bundles
from omnilmm_lite.bench.card.measure_fit import Stages
from omnilmm_lite.bench.card.memory_watch import MemoryWatch
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.engine.device import choose_device
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.card import read_cards
from omnilmm_lite.model import BundleModel, LoadOptions

TRIED = (("24gb", 24), ("8gb", 8), ("12gb", 12), ("16gb", 16), (FPA_INTB, 24))  # bundle, and GB of a card
TURNS = 3  # at full size they take seconds each; the stage `turns` has more of them
SMALL_CONTEXT = 512


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """`rows`: for each size that the card has, what was done, the plan's bytes and the peak; or what ended it."""
    rows: list[Json] = []
    cards = read_cards()
    for name, gb in [each for each in TRIED if holds(cards, each[1])] if run.on_card else TRIED[:1]:
        folder = wait_for(run, full_bundles(run).bundle(name))
        found = _on_card(folder, gb) if run.on_card else _on_cpu(run, folder)
        rows += [{"bundle": name, "card_gb": gb, **row} for row in found]
        save({"rows": rows})


def _on_card(folder: Path, gb: int) -> list[Json]:
    """In a process of its own, so that what the one before took of the card is gone."""
    asked = ("--device", "cuda", "--vram", str(gb), "--turns", str(TURNS), "--json")
    command = [sys.executable, "-m", "cli", "bench", "--model", str(folder), *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    print(said, flush=True)
    try:
        fit: Json = json.loads(done.stdout)
    except ValueError:
        return [_row(error=said)]
    rows = [_row(each["what"], each["predicted"], each["measured"]) for each in fit["predictions"]]
    return [*rows, _row(peak=fit["peak"], error=fit["failure"])] if fit["failure"] else rows


def _on_cpu(run: Run, folder: Path) -> list[Json]:
    """The same steps, to try them: a plan for a card says nothing of this process."""
    bundle = Bundle.open(folder)
    options = LoadOptions(SMALL_CONTEXT, None, drafts=False, cuda_graph=False)
    choice = choose_device(run.device.value, bundle.manifest.target)
    with MemoryWatch(lambda: memory_in_use(run), memory_in_use(run)) as watch:
        stages = Stages(BundleModel, bundle, choice, options, watch, Log())
        failure = stages.run(TURNS)
    if failure is not None:
        raise OmniLMMError(failure)
    return [_row("the context filled", peak=stages.most)]


def _row(what: str = "", planned: int | None = None, peak: int | None = None, error: str | None = None) -> Json:
    return {"what": what, "planned": planned, "peak": peak, "error": error}
