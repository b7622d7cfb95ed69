"""The int8 product and the rounding before it, held against whole numbers: nothing may differ.

Weights are as `export.weights.pairs` leaves them: the codes of columns 2k and 2k + 1, where their signs agree, add up
to 128 at most. x86 without VNNI adds such a pair's products in 16 bits, which 255 * 128 just doesn't overflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.bundle.layout import PAIR_SUM
from omnilmm_lite.proof.proof_graph import Array, Case, Expected, Operator, ProofGraph

GRAPH, ROUNDING_GRAPH = "int8_product", "rounding"
# (in, out) of each product, and its activations' zero point: remainders in all directions, and the widest layer.
SHAPES = ((6, 3), (31, 17), (256, 33), (1790, 40), (15360, 8))
ZERO_POINTS = (128, 128, 128, 128, 24)
ROWS = (1, 2, 7, 33)
# Each pair as loud as it may be.
WORST_PAIRS = ((127, 1), (1, 127), (64, 64), (-127, -1), (-128, 0), (0, -128), (-64, -64), (127, -127), (-128, 127))
ROUNDED_COLUMNS = 96
GELU_MINIMUM, GELU_ZERO_POINT = -0.169972, 24  # export.graphs.int8_layers's grid behind GELU
EXACT_PRODUCT = "0: sums of whole numbers in 32 bits, rounded to float32 once, times the scale once"
EXACT_ROUNDING = "0: one division, correctly rounded, halves to the even neighbour, clamped to 0 .. 255"


def proof_graphs() -> Iterator[ProofGraph]:
    for operator, mapped in ((Operator.INT8_PRODUCT, False), (Operator.INT8_PRODUCT_MAPPED, True)):
        rng = np.random.default_rng(0)
        codes = [limited_codes(rng, *shape) for shape in SHAPES]
        yield product(operator, codes, rng, mapped)
    yield _rounding()


def unlimited(operator: Operator = Operator.INT8_PRODUCT) -> ProofGraph:
    """The same products with all codes that 8 bits have: right only where pairs aren't added in 16 bits."""
    rng = np.random.default_rng(1)
    codes = [rng.choice(np.asarray([-127, 127], np.int8), shape) for shape in SHAPES]
    return product(operator, codes, rng, mapped=False)


def product(operator: Operator, codes: Sequence[Array], rng: np.random.Generator, mapped: bool) -> ProofGraph:
    """`codes` int8 (in, out), one for each of SHAPES."""
    scales = [rng.uniform(1e-3, 1e-1, (each.shape[1],)).astype(np.float32) for each in codes]
    weights: dict[str, Array] = {}
    for index, (code, scale) in enumerate(zip(codes, scales, strict=True)):
        weights |= {f"product.{index}.codes": code, f"product.{index}.scale": scale}
    kinds = [(rows, 0) for rows in ROWS] + [(1, first) for first in range(1, 5)]
    cases = tuple(_case(operator, codes, scales, rng, rows, first) for rows, first in kinds)
    return ProofGraph((operator,), GRAPH, weights, cases, mapped)


def limited_codes(rng: np.random.Generator, columns: int, outputs: int) -> NDArray[np.int8]:
    """Random codes in limited pairs; the first outputs have the worst ones: (in, out)."""
    codes = rng.integers(-127, 128, (columns + columns % 2, outputs))
    first, second = codes[0::2], codes[1::2]
    codes[1::2] = np.clip(second, -PAIR_SUM - np.minimum(first, 0), PAIR_SUM - np.maximum(first, 0))
    patterns = [np.ravel(WORST_PAIRS), *(np.asarray(pair) for pair in WORST_PAIRS)]
    for output, pattern in zip(range(outputs), patterns, strict=False):
        codes[:, output] = np.resize(pattern, len(codes))
    return codes[:columns].astype(np.int8)


def _case(
    operator: Operator,
    codes: Sequence[Array],
    scales: Sequence[Array],
    rng: np.random.Generator,
    rows: int,
    first: int,
) -> Case:
    feeds: dict[str, Array] = {}
    expected = []
    for index, (code, scale, zero) in enumerate(zip(codes, scales, ZERO_POINTS, strict=True)):
        activations = _activations(rng, rows, len(code), first)
        exact = (activations.astype(np.int64) - zero) @ code.astype(np.int64)  # (rows, out)
        value = exact.astype(np.float32) * scale
        feeds[f"codes.{index}"] = activations
        what = "whole numbers, limited pairs"
        expected.append(Expected(operator, what, f"product.{index}/matmul", value, scale, 0.0, EXACT_PRODUCT))
    return Case(feeds, tuple(expected))


def _activations(rng: np.random.Generator, rows: int, columns: int, first: int) -> NDArray[np.uint8]:
    """(rows, in), each row of one of five kinds in turn, the first row of the kind `first`."""
    return np.stack([_activation_row(rng, columns, (row + first) % 5) for row in range(rows)]).astype(np.uint8)


def _activation_row(rng: np.random.Generator, columns: int, kind: int) -> Array:
    if kind == 0:
        return np.full(columns, 255)
    if kind == 1:
        return np.resize([255, 0], columns)
    if kind == 2:
        return np.resize([0, 255, 255, 0], columns)
    if kind == 3:
        return rng.choice([0, 255], columns)
    return np.clip(np.rint(rng.normal(128, 40, columns)), 0, 255)


# ---- rounding ----


def _rounding() -> ProofGraph:
    rng = np.random.default_rng(2)
    halves = np.resize(np.arange(-125.5, 127), (3, ROUNDED_COLUMNS)) / 8
    rows = np.stack(
        [
            *_ending_in(halves, 127 / 8),  # the scale is 1 / 8
            *rng.normal(0, 3, (4, ROUNDED_COLUMNS)),
            rng.normal(0, 1, ROUNDED_COLUMNS) * np.resize([1, 1, 1, 400], ROUNDED_COLUMNS),
            np.zeros(ROUNDED_COLUMNS),
            np.full(ROUNDED_COLUMNS, -7.3),
            np.resize([3.4e38, -3.4e38, 1e38], ROUNDED_COLUMNS),
            np.resize([1, -3, 2], ROUNDED_COLUMNS) * 2.0**-149,  # below the least scale
            np.resize([1.5, -1.0, 0.25], ROUNDED_COLUMNS) * 2.0**-119,  # the scale is just above it
        ]
    ).astype(np.float32)
    symmetric = Case({"x": rows}, _rounded(rows, "symmetric", *_symmetric_scale(rows)))
    positive = np.arange(ROUNDED_COLUMNS) % 231
    behind_gelu = np.stack(
        [
            *_ending_in(np.stack([positive - 23.5, positive + 100.5]) / 8, 231 / 8),
            *np.maximum(rng.normal(0, 2, (4, ROUNDED_COLUMNS)), GELU_MINIMUM),
            np.full(ROUNDED_COLUMNS, GELU_MINIMUM),
            np.resize([-1.0, 0.1, 0.0], ROUNDED_COLUMNS),  # below what GELU gives: the lowest code
        ]
    ).astype(np.float32)
    gelu = Case({"x": behind_gelu}, _rounded(behind_gelu, "behind_gelu", *_gelu_scale(behind_gelu)))
    return ProofGraph((Operator.ROUNDING,), ROUNDING_GRAPH, {}, (symmetric, gelu))


def _ending_in(rows: Array, last: float) -> Array:
    rows[:, -1] = last
    return rows


def _symmetric_scale(x: Array) -> tuple[Array, int]:
    scale = np.abs(x).max(1) / np.float32(127)
    return np.maximum(scale, np.finfo(np.float32).tiny), 128


def _gelu_scale(x: Array) -> tuple[Array, int]:
    scale = x.max(1) / np.float32(255 - GELU_ZERO_POINT)
    return np.maximum(scale, np.float32(-GELU_MINIMUM / GELU_ZERO_POINT)), GELU_ZERO_POINT


def _rounded(x: Array, grid: str, scale: Array, zero_point: int) -> tuple[Expected, ...]:
    codes = np.clip(np.rint(x / scale[:, None]) + zero_point, 0, 255).astype(np.uint8)
    what = "halves and extremes"
    return (
        Expected(Operator.ROUNDING, what, f"{grid}.codes", codes, 1.0, 0.0, EXACT_ROUNDING),
        Expected(Operator.ROUNDING, what, f"{grid}.scale", scale, 0.0, 0.0, EXACT_ROUNDING),
    )
