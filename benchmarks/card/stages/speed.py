"""How fast the model is on the device: first token, picture, prompt, answer; with and without CUDA graphs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.card.copy_bandwidth import copy_bandwidth, use_device
from benchmarks.card.result import number
from benchmarks.card.run import Json, Run
from benchmarks.card.stages.build import wait_for, wait_for_quiet
from benchmarks.card.synthetic import full_bundles, measured_bundles
from omnilmm_lite.bench.measure import bytes_per_token, decode, prefill, read_files
from omnilmm_lite.bench.series import Series, seconds
from omnilmm_lite.bench.workload import picture, question, token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.model import Model, load
from omnilmm_lite.sampling_params import SamplingParams

PROMPT, CONTEXT, STEPS = 316, 400, 64
REPEAT = 7


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """Launched kernel by kernel."""
    _measure(run, save, recorded=False)


def measure_recorded(run: Run, save: Callable[[Json], None]) -> None:
    """With each token's step as a CUDA graph; on the CPU, which has none, as `measure`."""
    _measure(run, save, recorded=run.on_card)


def _measure(run: Run, save: Callable[[Json], None], *, recorded: bool) -> None:
    use_device(run)
    wait_for_quiet(run)
    data: Json = {"bytes_per_s": number(copy_bandwidth(run)), "recorded": recorded, "bundles": []}
    for name in measured_bundles(run):
        folder = wait_for(run, full_bundles(run).bundle(name))
        gc.collect()  # the model before
        data["bundles"].append({"bundle": name, **_speeds(run, folder, recorded=recorded)})
        save(data)


def _speeds(run: Run, folder: Path, *, recorded: bool) -> Json:
    """Seconds of everything, of one bundle."""
    repeat, steps = (2, 8) if run.small else (REPEAT, STEPS)
    bundle = Bundle.open(folder)
    read_files(bundle, _Silent())
    started = time.perf_counter()
    model = load(folder, device=run.device.value, cuda_graph=recorded)
    load_s = time.perf_counter() - started
    first_s = first_token(model, 0)
    ids = token_ids(model.config, CONTEXT + steps)
    decode(model, ids, CONTEXT, steps)  # warms up, and records
    prefill(model, ids[:PROMPT])
    rows = {
        "picture and question, first token": [first_token(model, seed) for seed in range(1, repeat + 1)],
        "picture": [_picture(model, seed) for seed in range(100, 100 + repeat)],
        "prompt": [prefill(model, ids[:PROMPT]) for _ in range(repeat)],
        "token": [decode(model, ids, CONTEXT, steps) / steps for _ in range(repeat)],
    }
    return {
        "load_s": number(load_s),
        "first_token_after_load_s": number(first_s),
        "bytes_per_token": bytes_per_token(bundle, CONTEXT + steps / 2),
        "rows": [{"what": what, **_summary(times)} for what, times in rows.items()],
    }


def _summary(times: Sequence[float]) -> Json:
    series = Series(tuple(times))
    return {"median_s": number(series.median), "best_s": number(series.best), "spread": number(series.spread)}


def first_token(model: Model, seed: int) -> float:
    """Seconds from a picture that wasn't seen before, and a question of 60 tokens, to the first token drawn."""
    text, _ = question(model.text.tokenizer, 0)
    image = picture(seed)
    model.text.decoder.clear()

    def ask() -> None:
        chat = model.chat(image)
        for _ in chat.follow(text, chat.answer(text, SamplingParams.greedy(max_new_tokens=1))):
            pass

    return seconds(ask)


def _picture(model: Model, seed: int) -> float:
    image = picture(seed)
    return seconds(lambda: model.encode_image(image))


class _Silent:
    def stage(self, name: str, steps: int) -> None: ...

    def step(self, line: str) -> None: ...
