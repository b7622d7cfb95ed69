"""One product of the real model by itself: its shape, its format, and a graph that is nothing but copies of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from benchmarks.card.synthetic_weights import random_weight
from export.graphs.graph import GraphBuilder
from export.weights.weight import QuantizedWeight, Weight
from omnilmm_lite.bundle.packing import FLOAT_BITS, FPA_INTB_GROUP_SIZE, Packing, head_row_multiple, padded
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.formats import FP16

ERROR_COLUMNS = 1024  # of the result, evenly spaced, that the error is taken over
SMALLER = 8  # by how much sizes are divided to try the code


@dataclass(frozen=True)
class Format:
    """`fpa_intb`: onnxruntime is asked for those kernels."""

    bits: int
    group_size: int = Packing.BLOCKWISE.group_size
    symmetric: bool = False
    fpa_intb: bool = False

    @property
    def label(self) -> str:
        if self.bits == FLOAT_BITS:
            return "fp16"
        kind = "symmetric" if self.symmetric else "zero points"
        return f"{self.bits} bits, {self.group_size}, {kind}{', fpA_intB' if self.fpa_intb else ''}"


OURS = Format(4)
OURS_8 = Format(8)
HALF = Format(FLOAT_BITS)
FPA = Format(4, FPA_INTB_GROUP_SIZE, symmetric=True, fpa_intb=True)
FPA_8 = replace(FPA, bits=8)


@dataclass(frozen=True)
class Product:
    """(rows, k) times (k, n). `rows`: the numbers of rows that it is timed with. `calls`: a token's."""

    name: str
    k: int
    n: int
    format: Format
    rows: tuple[int, ...]
    calls: int

    @property
    def bytes(self) -> int:
        """What one product reads of the weight: codes, scales and zero points."""
        if self.format.bits == FLOAT_BITS:
            return 2 * self.k * self.n
        groups = self.n * self.k // self.format.group_size
        zeros = 0 if self.format.symmetric else groups * self.format.bits // 8
        return self.n * self.k * self.format.bits // 8 + 2 * groups + zeros

    def smaller(self) -> Product:
        """An eighth of the sizes, in groups of 32 and of widths that all kernels take."""
        group = replace(self.format, group_size=FPA_INTB_GROUP_SIZE)
        n = padded(self.n // SMALLER, 64)
        return replace(self, k=self.k // SMALLER, n=n, format=group, rows=self.rows[:2])

    def weight(self, seed: int) -> Weight:
        """(n, k)"""
        if self.format.bits == FLOAT_BITS:
            noise = np.random.default_rng(seed).standard_normal(1 << 20, dtype=np.float32) / math.sqrt(self.k)
            return np.resize(noise.astype(np.float16), (self.k, self.n)).T  # as the graph stores it
        form = self.format
        return random_weight(
            self.n, self.k, bits=form.bits, group_size=form.group_size, symmetric=form.symmetric, seed=seed
        )  # fmt: skip


def products(*, small: bool) -> list[Product]:
    """Those of the real model, in the order of what they decide."""
    config = OmniLMMConfig()
    decoder, vision = config.decoder, config.vision
    hidden, mlp = decoder.hidden_size, decoder.intermediate_size
    layer = {
        "qkv": (hidden, decoder.q_dim + 2 * decoder.kv_dim),
        "o": (decoder.q_dim, hidden),
        "gate_up": (hidden, 2 * mlp),
        "down": (mlp, hidden),
    }
    width = vision.hidden_size
    tower = {
        "tower qkv": (width, 3 * width),
        "tower proj": (width, width),
        "tower fc1": (width, vision.intermediate_size),
        "tower fc2": (vision.intermediate_size, width),
    }
    rows, layers = (1, 4, 16, 316), decoder.num_hidden_layers
    found = [Product(name, *shape, OURS, rows, layers) for name, shape in layer.items()]
    found += [_head(form, packing) for form, packing in ((HALF, Packing.BLOCKWISE), (OURS_8, Packing.BLOCKWISE))]
    found += [Product(name, *shape, FPA, rows, layers) for name, shape in layer.items()]
    found.append(_head(FPA_8, Packing.FPA_INTB))
    found += [Product(name, *shape, form, (1025,), 0) for form in (HALF, OURS_8) for name, shape in tower.items()]
    return [each.smaller() for each in found] if small else found


def _head(form: Format, packing: Packing) -> Product:
    """The last layer, as wide as bundles make it."""
    decoder = OmniLMMConfig().decoder
    n = padded(decoder.vocab_size, head_row_multiple(form.bits, Device.CUDA, packing))
    return Product("lm_head", decoder.hidden_size, n, form, (1,), 1)


def write_graph(product: Product, path: Path, count: int) -> Weight:
    """`count` of the product on the same rows, each with a weight of its own; the first one's weight."""
    first = product.weight(0)
    with GraphBuilder(path, FP16) as graph:
        x = graph.input("x", TensorProto.FLOAT16, ["rows", product.k])
        for index in range(count):
            weight = first if index == 0 else product.weight(index)
            y = graph.linear(x, weight, f"product{index}")
            graph.declare_output(y, TensorProto.FLOAT16, ["rows", product.n])
        graph.save()
    return first


def relative_error(x: NDArray[np.float16], got: NDArray[Any], weight: Weight) -> float:
    """|got - x weight^T| over the norm of the latter, in float64, over some columns of the result."""
    columns = slice(None, None, max(1, weight.shape[0] // ERROR_COLUMNS))
    dense = weight.rows(columns).dequantize() if isinstance(weight, QuantizedWeight) else weight[columns]
    expected = x.astype(np.float64) @ dense.astype(np.float64).T  # (rows, columns)
    difference = got[:, columns].astype(np.float64) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))
