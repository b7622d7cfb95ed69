"""Each product of the model by itself: time, share of the bandwidth, error.

A graph holds several equal products with weights of their own, more than lie in a card's cache; on a card it is
replayed as a CUDA graph, so that launching doesn't count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.card.copy_bandwidth import copy_bandwidth, use_device
from benchmarks.card.product import Product, products, relative_error, write_graph
from benchmarks.card.result import number
from benchmarks.card.run import Json, Run
from omnilmm_lite.bench.series import seconds
from omnilmm_lite.engine.device import import_onnxruntime, open_session
from omnilmm_lite.errors import OmniLMMError

WORKING_SET = 256 << 20  # bytes of weights: several times the cache of any card
MOST_COPIES = 24
WARM_UP, RUNS, RUN_SECONDS = 3, 30, 0.3
BUDGET_S = 110.0  # products that it has no room for are left out, and said


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """A row a product and number of rows; the bandwidth first."""
    use_device(run)
    started = time.monotonic()
    data: Json = {"bytes_per_s": number(copy_bandwidth(run)), "rows": [], "left_out": []}
    budget = BUDGET_S if run.on_card else BUDGET_S * 10
    for product in products(small=run.small):
        facts = {"product": product.name, "format": product.format.label, "calls": product.calls}
        if time.monotonic() - started > budget:
            data["left_out"].append(f"{product.name}, {product.format.label}")
            continue
        try:
            for row in _measure_product(run, product):
                data["rows"].append(facts | row)
        except OmniLMMError as error:  # of one, and the others still count
            data["rows"].append(facts | {"error": str(error)})
        save(data)
    save(data)


def _measure_product(run: Run, product: Product) -> Iterator[Json]:
    """A row a number of rows. Recorded where the device can; where that fails, launched one by one, which is said."""
    copies = 2 if run.small else max(2, min(MOST_COPIES, WORKING_SET // product.bytes))
    path = run.scratch("product") / "product.onnx"
    weight = write_graph(product, path, copies)
    graph = _Graph(run, product, path, recorded=run.on_card)
    for rows in product.rows:
        x = np.random.default_rng(rows).standard_normal((rows, product.k), dtype=np.float32).astype(np.float16)
        try:
            times, y = graph.times(x)
        except OmniLMMError:
            if not graph.recorded:
                raise
            graph = _Graph(run, product, path, recorded=False)
            times, y = graph.times(x)
        each = statistics.median(times) / copies
        yield {
            "rows": rows,
            "k": product.k,
            "n": product.n,
            "us": number(each * 1e6),
            "best_us": number(min(times) / copies * 1e6),
            "bytes": product.bytes,
            "tflops": number(2 * rows * product.k * product.n / each / 1e12),
            "relative_error": number(relative_error(x, y, weight)),
            "recorded": graph.recorded,
            "error": None,
        }


class _Graph:
    """A graph of equal products, open on the device."""

    def __init__(self, run: Run, product: Product, path: Path, *, recorded: bool) -> None:
        self.recorded = recorded
        self._device, self._n = run.device.value, product.n
        fpa_intb = product.format.fpa_intb
        self._session = open_session(path, run.device, cuda_graph=recorded, fpa_intb=fpa_intb)

    def times(self, x: NDArray[np.float16]) -> tuple[list[float], NDArray[np.float16]]:
        """Seconds of each run on `x` (rows, k), and the first product's result (rows, n). OmniLMMError for whatever
        onnxruntime raises."""
        ort = import_onnxruntime()
        binding, targets = self._session.io_binding(), []
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x, self._device, 0))
        for output in self._session.get_outputs():
            empty = np.full((len(x), self._n), np.nan, np.float16)
            targets.append(ort.OrtValue.ortvalue_from_numpy(empty, self._device, 0))
            binding.bind_ortvalue_output(output.name, targets[-1])
        options = ort.RunOptions()
        try:
            if self.recorded:  # what is allocated and chosen at the first run must not be in the recording
                self._session.run_with_iobinding(binding, _named("-1"))
                options = _named(str(len(x)))
            times = _repeat(self._session, binding, options)
            y: NDArray[np.float16] = targets[0].numpy().copy()
        except Exception as error:  # onnxruntime's share no base class
            raise OmniLMMError(f"{len(x)} rows: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
        return times, y


def _named(recording: str) -> Any:
    """Options of a run that is recorded, and replayed, by this name; -1: it isn't."""
    options = import_onnxruntime().RunOptions()
    options.add_run_config_entry("gpu_graph_id", recording)
    return options


def _repeat(session: Any, binding: Any, options: Any) -> list[float]:
    times: list[float] = []
    while len(times) < WARM_UP + 3 or (len(times) < WARM_UP + RUNS and sum(times[WARM_UP:]) < RUN_SECONDS):
        times.append(seconds(lambda: session.run_with_iobinding(binding, options)))
    return times[WARM_UP:]
