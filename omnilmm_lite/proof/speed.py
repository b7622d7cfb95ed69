"""How fast int8 products are beside fp32 ones, in a fifth of a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omnilmm_lite.proof.int8 import limited_codes
from omnilmm_lite.proof.operators import open_proof_graph
from omnilmm_lite.proof.proof_graph import Array, Operator, ProofGraph

INT8_GRAPH, FLOAT_GRAPH = "speed_int8", "speed_float"
ROWS, COLUMNS, OUTPUTS = 256, 1024, 1024
TURNS = 2
SECONDS = 0.04  # of each turn
FEWEST = 2  # runs in it, however long they take


@dataclass(frozen=True)
class ProductSpeed:
    """Multiplications and additions in 10^9 a second, on `threads` threads; the best of some runs."""

    int8_gops: float
    fp32_gflops: float
    threads: int | None  # None: onnxruntime's own choice

    @property
    def gain(self) -> float:
        """How many times as fast int8 is."""
        return self.int8_gops / self.fp32_gflops


def measure_products(threads: int | None) -> ProductSpeed:
    """By turns, so that what else the machine does slows both alike; a session at a time, whose idle threads spin."""
    codes = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8)
    feeds: tuple[dict[str, Array], ...] = ({"codes.0": codes}, {"x": codes.astype(np.float32) - 128})
    pairs = list(zip(proof_graphs(), feeds, strict=True))
    rates = [[_rate(proof_graph, feed, threads) for proof_graph, feed in pairs] for _ in range(TURNS)]
    return ProductSpeed(max(int8 for int8, _ in rates), max(fp32 for _, fp32 in rates), threads)


def proof_graphs() -> Iterator[ProofGraph]:
    """Weights lie where they are given, as in the graphs for pictures and prompts."""
    codes = limited_codes(np.random.default_rng(0), COLUMNS, OUTPUTS)
    scale = np.ones(OUTPUTS, np.float32)
    int8: dict[str, Array] = {"product.0.codes": codes, "product.0.scale": scale}
    yield ProofGraph((Operator.INT8_PRODUCT_MAPPED,), INT8_GRAPH, int8, (), mapped=True)
    fp32: dict[str, Array] = {"product.weight": codes.astype(np.float32)}
    yield ProofGraph((Operator.FLOAT_PRODUCT,), FLOAT_GRAPH, fp32, ())


def _rate(proof_graph: ProofGraph, feeds: dict[str, Array], threads: int | None) -> float:
    """10^9 operations a second, the best of some runs."""
    session = open_proof_graph(proof_graph, threads)
    session.run(None, feeds)
    times: list[float] = []
    while sum(times) < SECONDS or len(times) < FEWEST:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return 2 * ROWS * COLUMNS * OUTPUTS / min(times) / 1e9
