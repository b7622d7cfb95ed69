"""Products with 4- and 8-bit weights, activations in float32 (accuracy level 0) or rounded to int8 (level 4).

Whole numbers prove every code: float32 sums them exactly, and activations whose largest magnitude in each group is 127
are their own int8 codes. Ordinary values are held against float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.proof.proof_graph import UNIT, WHOLE, Array, Case, Doubles, Expected, Operator, ProofGraph

COLUMNS, OUTPUTS = 512, 35  # in, out. 127 * 255 * 512 is just below 2^24
ROWS = (1, 4, 32, 130)
GRAPHS = {Operator.NBITS_FLOAT: "nbits_float", Operator.NBITS_INT8: "nbits_int8"}
STEPS = 127  # int8 activations reach from -127 to 127
SUMMED = COLUMNS + 2  # roundings: of a weight, of its product, and of the sums


@dataclass(frozen=True)
class Form:
    """How one product's weight is kept. Without `zeros`, every zero point is the middle of the codes."""

    bits: int
    group_size: int
    zeros: bool

    @property
    def name(self) -> str:
        return f"bits{self.bits}.group{self.group_size}" + (".zeros" if self.zeros else "")


FORMS = (
    Form(4, 128, False),
    Form(4, 128, True),
    Form(4, 32, True),
    Form(8, 128, False),
    Form(8, 128, True),
    Form(8, 32, False),
)


@dataclass(frozen=True)
class Weight:
    """(code - zero) * scale, in groups of columns."""

    form: Form
    codes: NDArray[np.uint8]  # (out, in)
    scales: NDArray[np.float32]  # (out, groups)
    zeros: NDArray[np.uint8]  # (out, groups)

    def tensors(self) -> dict[str, Array]:
        """As the operator takes them: onnxruntime, docs/ContribOperators.md, com.microsoft.MatMulNBits."""
        name, groups = self.form.name, self.scales.shape[1]
        blob = _packed(self.codes, self.form.bits).reshape(OUTPUTS, groups, -1)
        tensors: dict[str, Array] = {f"{name}.qweight": blob, f"{name}.scales": self.scales}
        if self.form.zeros:
            tensors[f"{name}.qzeros"] = _packed(self.zeros, self.form.bits)
        return tensors

    def each(self, values: Array) -> Doubles:
        """(out, groups) -> (out, in)"""
        return np.repeat(values, self.form.group_size, axis=1).astype(np.float64)

    def dense(self) -> Doubles:
        """(out, in)"""
        return (self.codes - self.each(self.zeros)) * self.each(self.scales)


def proof_graphs() -> Iterator[ProofGraph]:
    for operator in GRAPHS:
        yield _whole(operator)
        yield _ordinary(operator)


def _whole(operator: Operator) -> ProofGraph:
    rng = np.random.default_rng(3)
    weights = [_whole_weight(rng, form) for form in FORMS]
    cases = []
    for rows in ROWS:
        x = _whole_activations(rng, rows)
        expected = []
        for weight in weights:
            steps = weight.codes.astype(np.int64) - np.repeat(weight.zeros, weight.form.group_size, axis=1)
            value = (x.astype(np.int64) @ steps.T) * weight.scales[:, 0]
            what = "whole numbers and extremes"
            expected.append(Expected(operator, what, _output(weight), value[None], weight.scales[:, 0], 0.0, WHOLE))
        cases.append(Case({"x": x[None]}, tuple(expected)))
    return _proof_graph(operator, weights, cases)


def _whole_weight(rng: np.random.Generator, form: Form) -> Weight:
    """The first outputs have the largest code, the smallest, and both in turns, against zero points of both ends."""
    largest, groups = (1 << form.bits) - 1, COLUMNS // form.group_size
    codes = rng.integers(0, largest + 1, (OUTPUTS, COLUMNS))
    codes[0:3], codes[3:6], codes[6:8] = largest, 0, np.resize([largest, 0], COLUMNS)
    zeros = np.full((OUTPUTS, groups), 1 << (form.bits - 1))
    if form.zeros:
        zeros = rng.integers(0, largest + 1, (OUTPUTS, groups))
        zeros[0:8] = np.asarray([0, largest, 1, 0, largest, 1, 0, largest])[:, None]
    scales = np.repeat(2.0 ** (np.arange(OUTPUTS) % 5 - 2)[:, None], groups, axis=1)
    return Weight(form, codes.astype(np.uint8), scales.astype(np.float32), zeros.astype(np.uint8))


def _whole_activations(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    x = rng.integers(-STEPS, STEPS + 1, (rows, COLUMNS))
    extremes = (np.full(COLUMNS, STEPS), np.full(COLUMNS, -STEPS), np.resize([STEPS, -STEPS], COLUMNS))
    for row, values in zip(range(rows), extremes, strict=False):
        x[row] = values
    x[:, :: min(form.group_size for form in FORMS)] = STEPS
    return x.astype(np.float32)


def _ordinary(operator: Operator) -> ProofGraph:
    rng = np.random.default_rng(4)
    weights = []
    for form in FORMS:
        codes = rng.integers(0, 1 << form.bits, (OUTPUTS, COLUMNS)).astype(np.uint8)
        groups = (OUTPUTS, COLUMNS // form.group_size)
        scales = np.exp(rng.normal(-5, 0.5, groups)).astype(np.float16).astype(np.float32)
        middle = np.full(groups, 1 << (form.bits - 1))
        zeros = rng.integers(0, 1 << form.bits, groups) if form.zeros else middle
        weights.append(Weight(form, codes, scales, zeros.astype(np.uint8)))
    cases = []
    for rows in ROWS:
        x = rng.normal(0, 1, (rows, COLUMNS)) * np.resize([1, 1, 1, 1, 1, 1, 12], COLUMNS)  # with loud channels
        x = x.astype(np.float32)
        cases.append(Case({"x": x[None]}, tuple(_near(operator, weight, x) for weight in weights)))
    return _proof_graph(operator, weights, cases)


def _near(operator: Operator, weight: Weight, x: NDArray[np.float32]) -> Expected:
    """Zero points may be subtracted before the sums or behind them, so codes and zero points count apart."""
    dense, what = weight.dense(), "ordinary values"
    apart = (weight.codes + weight.each(weight.zeros)) * np.abs(weight.each(weight.scales))
    value = x.astype(np.float64) @ dense.T  # (rows, out)
    summed = np.abs(x).astype(np.float64) @ apart.T
    if operator is Operator.NBITS_FLOAT:
        reason = f"{SUMMED} roundings of the sum of all products' magnitudes"
        return Expected(operator, what, _output(weight), value[None], summed[None], SUMMED * UNIT, reason)
    loudest = np.abs(x).reshape(len(x), -1, weight.form.group_size).max(2)  # (rows, groups)
    step = np.repeat(loudest, weight.form.group_size, axis=1).astype(np.float64)  # times STEPS
    tolerance = 0.5 / STEPS
    magnitude = step @ np.abs(dense).T + summed * SUMMED * UNIT / tolerance
    reason = f"half a step of {STEPS} for each activation, of its group's largest"
    return Expected(operator, what, _output(weight), value[None], magnitude[None], tolerance, reason)


def _proof_graph(operator: Operator, weights: list[Weight], cases: list[Case]) -> ProofGraph:
    tensors: dict[str, Array] = {}
    for weight in weights:
        tensors |= weight.tensors()
    return ProofGraph((operator,), GRAPHS[operator], tensors, tuple(cases))


def _output(weight: Weight) -> str:
    return f"{weight.form.name}/matmul"


def _packed(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """With 4 bits two codes of the last axis share a byte, the first in its low half."""
    if bits == 8:
        return codes
    low, high = codes[..., 0::2], codes[..., 1::2]
    packed: NDArray[np.uint8] = low | (high << np.uint8(4))
    return packed
