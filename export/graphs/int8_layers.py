"""Linear layers in 8-bit integers as ONNX; `export.weights.int8` computes the same, bit for bit, and says how.

    scale = max |x| of each row / 127                         ReduceMax, ReduceMin, Max, Div
    codes = QuantizeLinear(x, scale, 128, axis=row)           uint8
    y = MatMulIntegerToFloat(codes, weight) * scale           for each layer that reads x

The graph must be computed in fp32, and rows must be the first axis: QuantizeLinear takes its scales along one axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.graphs.graph import GraphBuilder
from export.weights.int8 import ACTIVATION_CODES, LEAST_SCALE, Int8Linear, Int8Weight, TokenGrid
from export.weights.pairs import overflowing_pairs
from export.weights.rotation import hadamard
from export.weights.weight import Array
from omnilmm_lite.errors import OmniLMMError


@dataclass(frozen=True)
class Int8Rows:
    """Activations (rows, in), rounded: what every int8 layer that reads them shares."""

    codes: str  # uint8 (rows, in)
    scale: str  # float32 (rows,)
    zero_point: str


def int8_linear(graph: GraphBuilder, x: str, linear: Int8Linear, name: str, bias: Array | None = None) -> str:
    """x (rows, in) -> (rows, out)."""
    rows = round_rows(graph, x, linear.grid, linear.rotation, name)
    y = graph.op("Mul", int8_product(graph, rows, linear.weight, name), column(graph, rows.scale))
    return y if bias is None else graph.op("Add", y, graph.weight(f"{name}.bias", bias))


def round_rows(graph: GraphBuilder, x: str, grid: TokenGrid, rotation: int, name: str) -> Int8Rows:
    """Rotates x (rows, in) in blocks of `rotation` columns, and rounds each row to the grid."""
    if rotation > 1:
        x = _rotate(graph, x, rotation)
    scale = _row_scale(graph, x, grid)  # (rows,)
    zero = graph.shared_constant(f"int8.zero_point.{grid.zero_point}", np.asarray([grid.zero_point], dtype=np.uint8))
    zeros = graph.op("Expand", zero, graph.op("Shape", scale))
    codes = graph.op("QuantizeLinear", x, scale, zeros, name=f"{name}/round", axis=0)
    return Int8Rows(codes, scale, zero)


def int8_product(graph: GraphBuilder, rows: Int8Rows, weight: Int8Weight, name: str) -> str:
    """(rows, out) float32, which is still to be multiplied by the rows' scale.

    OmniLMMError for codes that processors without VNNI would multiply wrongly: no such graph is ever written.
    """
    if pairs := overflowing_pairs(weight.codes):
        raise OmniLMMError(f"{name}: {pairs} pairs of 8-bit codes can overflow 16 bits: a mistake; please report it")
    inputs = [
        rows.codes,
        graph.constant(f"{name}.codes", weight.codes.T.numpy()),  # (in, out)
        graph.shared_constant("int8.one", np.asarray(1, dtype=np.float32)),
        graph.constant(f"{name}.scale", weight.scale.numpy()),
        rows.zero_point,
        graph.shared_constant("int8.weight_zero_point", np.asarray(0, dtype=np.int8)),
    ]
    return graph.op("MatMulIntegerToFloat", *inputs, name=f"{name}/matmul")


def column(graph: GraphBuilder, scale: str) -> str:
    """(rows,) -> (rows, 1)."""
    return graph.op("Unsqueeze", scale, graph.shared_constant("int8.last_axis", np.asarray([-1], dtype=np.int64)))


def _row_scale(graph: GraphBuilder, x: str, grid: TokenGrid) -> str:
    """Each row's scale, as `TokenGrid.scale` computes it: (rows, in) -> (rows,)."""
    axis = graph.shared_constant("int8.last_axis", np.asarray([-1], dtype=np.int64))
    highest = graph.op("ReduceMax", x, axis, keepdims=0)
    steps = ACTIVATION_CODES - grid.zero_point
    if grid.minimum is None:
        lowest = graph.op("Neg", graph.op("ReduceMin", x, axis, keepdims=0))
        highest, least = graph.op("Max", highest, lowest), LEAST_SCALE
    else:
        least = -grid.minimum / grid.zero_point
    divisor = graph.shared_constant(f"int8.steps.{steps}", np.asarray(steps, dtype=np.float32))
    bound = graph.shared_constant(f"int8.least_scale.{grid.zero_point}", np.asarray(least, dtype=np.float32))
    return graph.op("Max", graph.op("Div", highest, divisor), bound)


def _rotate(graph: GraphBuilder, x: str, block: int) -> str:
    """Blocks of columns become rows of one product with the Hadamard matrix."""
    matrix = graph.shared_constant(f"int8.hadamard.{block}", hadamard(block).numpy())
    rotated = graph.op("MatMul", graph.reshape(x, [-1, block]), matrix)  # (rows * in / block, block)
    return graph.op("Reshape", rotated, graph.op("Shape", x))
