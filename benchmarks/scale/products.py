"""Would a step of several answers gain by the prompts' graph? `python -m benchmarks.scale.products --work FOLDER`.

The two widest products of a layer, for as many rows as there are answers: 4-bit as the graph that decodes has them,
int8 as the prompts' graph does, rounding and rotation of the rows included. int8 weights are packed for the kernels, or
used as they lie in the file, which is how bundles do it. Each graph is nothing but copies, so that weights come from
memory, not from a cache. In turns; medians of the rounds that no other program disturbed, per product. 1 GB in FOLDER,
which is deleted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto

from benchmarks.card.synthetic_weights import random_weight
from benchmarks.peers.parallel.disturbance import Clock
from export.graphs.graph import GraphBuilder
from export.graphs.int8_layers import column, int8_product, round_rows
from export.weights.int8 import SYMMETRIC, Int8Weight
from omnilmm_lite.bench.series import seconds
from omnilmm_lite.bundle.layout import GROUP_SIZE, STREAM_ROTATION
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.pages.huge_pages import start_again_with_huge_pages
from omnilmm_lite.formats import FP32
from omnilmm_lite.machine.processor import instruction_sets, processor_name

ROWS = (1, 2, 4, 8, 16)
COPIES = 3
ROUNDS = 15
OTHERS = 0.1  # processors that other programs may keep busy in a round that counts
ACCURACY_LEVEL = 4  # int8 activations, as the graph that decodes has

Build = Callable[[GraphBuilder, str, int], list[str]]  # from rows and a copy's number to the product's results


@dataclass(frozen=True)
class Product:
    """(rows, k) times (k, n), in `parts` of equal width where the prompts' graph has as many."""

    k: int
    n: int
    parts: int = 1

    @property
    def name(self) -> str:
        return f"{self.k} -> {self.n}"

    def four_bit(self, graph: GraphBuilder, x: str, copy: int) -> list[str]:
        weight = random_weight(self.n, self.k, bits=4, group_size=GROUP_SIZE, symmetric=False, seed=copy)
        return [graph.linear(x, weight, f"product{copy}")]

    def int8(self, graph: GraphBuilder, x: str, copy: int) -> list[str]:
        """Parts share their rounded input."""
        name = f"product{copy}"
        rows = round_rows(graph, x, SYMMETRIC, STREAM_ROTATION, name)
        scale = column(graph, rows.scale)
        products = [int8_product(graph, rows, weight, f"{name}.{part}") for part, weight in enumerate(self._weights())]
        return [graph.op("Mul", product, scale) for product in products]

    def _weights(self) -> list[Int8Weight]:
        return [Int8Weight.round(torch.randn(self.n // self.parts, self.k)) for _ in range(self.parts)]


@dataclass(frozen=True)
class Runner:
    """A session that is nothing but copies of a product."""

    session: onnxruntime.InferenceSession

    def seconds(self, x: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
        """Of one product."""
        binding = self.session.io_binding()
        binding.bind_cpu_input("x", x)
        for output in self.session.get_outputs():
            binding.bind_output(output.name, "cpu")
        return seconds(lambda: self.session.run_with_iobinding(binding)) / COPIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where the graphs are written (default: the system's)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"({ROUNDS})")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="(2)")
    args = parser.parse_args()
    decoder = DecoderConfig()
    hidden, inner = decoder.hidden_size, decoder.intermediate_size
    print(f"{processor_name()} ({', '.join(instruction_sets())}), onnxruntime {onnxruntime.__version__}")
    print(f"{args.threads} threads, medians of {args.rounds} rounds\n")
    print("| product | rows | 4 bits | int8, packed | int8, mapped |\n|---|--:|--:|--:|--:|")
    for product in (Product(hidden, 2 * inner, parts=2), Product(inner, hidden)):
        with tempfile.TemporaryDirectory(dir=args.work) as folder:
            runners = open_runners(product, Path(folder), args.threads)
            for rows, medians in measure(runners, product.k, args.rounds):
                cells = " | ".join(f"{each * 1000:.2f} ms" for each in medians)
                print(f"| {product.name} | {rows} | {cells} |", flush=True)


def open_runners(product: Product, folder: Path, threads: int) -> list[Runner]:
    """4 bits; int8, packed; int8, mapped."""
    four_bit, int8 = folder / "4bit.onnx", folder / "int8.onnx"
    write_graph(product.four_bit, product.k, four_bit)
    write_graph(product.int8, product.k, int8)
    open_cpu = partial(open_session, device=Device.CPU, threads=threads)
    return [
        Runner(open_cpu(four_bit)),
        Runner(open_cpu(int8)),
        Runner(open_cpu(int8, mapped=True)),
    ]


def write_graph(build: Build, k: int, path: Path) -> None:
    """Copies of a product on the same rows, each with a weight of its own."""
    with GraphBuilder(path, FP32, accuracy_level=ACCURACY_LEVEL) as graph:
        x = graph.input("x", TensorProto.FLOAT, ["rows", k])
        for index in range(COPIES):
            for y in build(graph, x, index):
                graph.declare_output(y, TensorProto.FLOAT, ["rows", "columns"])
        graph.save()


def measure(runners: Sequence[Runner], k: int, rounds: int) -> list[tuple[int, list[float]]]:
    """For each number of rows each runner's median, after a round to warm up."""
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((rows, k), dtype=np.float32) for rows in ROWS]
    took: list[list[list[float]]] = []
    while len(took) <= rounds:
        before = Clock.read()
        found = [[runner.seconds(x) for runner in runners] for x in inputs]
        if Clock.read().others(before) <= OTHERS:
            took.append(found)
    took = took[1:]
    return [
        (rows, [statistics.median(each[index][at] for each in took) for at in range(len(runners))])
        for index, rows in enumerate(ROWS)
    ]


if __name__ == "__main__":
    start_again_with_huge_pages()
    main()
