"""A preset whose tower and decoder take turns, many times over: does every turn give back what it took?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.card.copy_bandwidth import use_device
from benchmarks.card.device_memory import memory_in_use
from benchmarks.card.result import number
from benchmarks.card.run import Json, Run
from benchmarks.card.stages.build import wait_for
from benchmarks.card.stages.speed import first_token
from benchmarks.card.synthetic import slim_bundles
from omnilmm_lite.bench.series import seconds
from omnilmm_lite.model import load

PRESET = "8gb"
TURNS, SMALL_TURNS = 50, 4
WARM_UP = 2  # turns, after which nothing should grow


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """Each turn is a new picture and a question: the tower is loaded, let go, and then the decoder. `rows`: the memory
    in use after each, and its seconds."""
    use_device(run)
    folder = wait_for(run, slim_bundles(run).bundle(PRESET))
    before = memory_in_use(run)
    model = load(folder, device=run.device.value, context=1024)
    rows: list[Json] = []
    for turn in range(SMALL_TURNS if run.small else TURNS):
        took = seconds(partial(first_token, model, turn))
        rows.append({"turn": turn + 1, "in_use": memory_in_use(run), "seconds": number(took)})
        save({"preset": PRESET, "before": before, "warm_up": WARM_UP, "rows": rows})
