"""What is computed in float32: products, the convolution of the pixels, norms, GELU and SiLU, and number formats.

Products are proven on whole numbers, which float32 sums exactly, and held against float64 on ordinary ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.proof.proof_graph import UNIT, WHOLE, Array, Case, Doubles, Expected, Operator, ProofGraph

PRODUCTS_GRAPH, PATCHES_GRAPH, NORMS_GRAPH = "float_products", "patches", "norms"
ACTIVATIONS_GRAPH, FORMATS_GRAPH = "activations", "formats"
PRODUCT, ROTATION = (257, 35), (64, 64)  # (in, out): remainders, and a Hadamard rotation's
ROWS = (1, 4, 32)
PATCH, HIDDEN, SIDE = 14, 32, 28  # the convolution, of a picture of 2 x 2 patches
NORM_WIDTH, NORM_EPS = 256, 1e-5
# Of the input: kernels approximate the error function and the logistic by polynomials, good to a few units of 1.
ACTIVATION_TOLERANCE = 8 * UNIT
EXTREMES = (0.0, -0.0, 1e-30, -1e-30, 30.0, -30.0, 1e4, -1e4, 1e30, -1e30, 88.0, -88.0, -0.7518, 5.9, -5.9)


def proof_graphs() -> Iterator[ProofGraph]:
    yield from _products()
    yield from _patches()
    yield _norms()
    yield _activations()
    yield _formats()


# ---- products ----


def _products() -> Iterator[ProofGraph]:
    rng = np.random.default_rng(7)
    whole = {"product.weight": rng.integers(-128, 128, PRODUCT), "rotation.weight": rng.choice([-1, 1], ROTATION) / 8}
    ordinary = {"product.weight": rng.normal(0, 1, PRODUCT), "rotation.weight": rng.normal(0, 1, ROTATION)}
    for operator, mapped in ((Operator.FLOAT_PRODUCT, False), (Operator.FLOAT_PRODUCT_MAPPED, True)):
        for weights, draw, is_whole in ((whole, _whole_rows, True), (ordinary, _ordinary_rows, False)):
            floats = {name: weight.astype(np.float32) for name, weight in weights.items()}
            cases = []
            for rows in ROWS:
                feeds = {name: draw(rng, (rows, len(floats[f"{name}.weight"]))) for name in ("product", "rotation")}
                expected = tuple(
                    _product(operator, f"{name}/matmul", x, floats[f"{name}.weight"], is_whole)
                    for name, x in feeds.items()
                )
                cases.append(Case(feeds, expected))
            yield ProofGraph((operator,), PRODUCTS_GRAPH, floats, tuple(cases), mapped)


def _whole_rows(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The first row in denormal numbers, which must not become zeros; the others up to 255."""
    x = rng.integers(-255, 256, shape).astype(np.float32)
    x[0] = rng.integers(-15, 16, shape[1]) * 2.0**-146
    return x


def _ordinary_rows(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    return rng.normal(0, 1, shape).astype(np.float32)


def _product(operator: Operator, output: str, x: Array, weight: Array, is_whole: bool) -> Expected:
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    if is_whole:
        return Expected(operator, "whole numbers and denormals", output, x @ weight, 1.0, 0.0, WHOLE)
    roundings = len(weight) + 1
    magnitude = np.abs(x) @ np.abs(weight)
    reason = _summing(roundings)
    return Expected(operator, "ordinary values", output, x @ weight, magnitude, roundings * UNIT, reason)


def _summing(roundings: int) -> str:
    return f"a rounding for each of {roundings} sums and products, of all products' magnitudes"


def _patches() -> Iterator[ProofGraph]:
    rng = np.random.default_rng(8)
    shapes = ((HIDDEN, 3, PATCH, PATCH), (HIDDEN,), (2, 3, SIDE, SIDE))
    whole = [rng.integers(-8, 9, shape).astype(np.float32) for shape in shapes]
    yield _convolution(whole, "whole numbers", 0.0, WHOLE)
    ordinary = [rng.normal(0, 1, shape).astype(np.float32) for shape in shapes]
    roundings = 3 * PATCH * PATCH + 2
    yield _convolution(ordinary, "ordinary values", roundings * UNIT, _summing(roundings))


def _convolution(arrays: list[NDArray[np.float32]], what: str, tolerance: float, reason: str) -> ProofGraph:
    kernel, bias, pixels = arrays
    wide = [array.astype(np.float64) for array in arrays]
    value, magnitude = _convolved(*wide), _convolved(*map(np.abs, wide))
    expected = Expected(Operator.CONVOLUTION, what, "patches", value, magnitude, tolerance, reason)
    weights = {"conv.weight": kernel, "conv.bias": bias}
    return ProofGraph((Operator.CONVOLUTION,), PATCHES_GRAPH, weights, (Case({"pixels": pixels}, (expected,)),))


def _convolved(kernel: Doubles, bias: Doubles, pixels: Doubles) -> Doubles:
    """Patches that don't overlap are a product: (batch, 3, side, side) -> (batch, hidden, grid, grid)."""
    grid = SIDE // PATCH
    cut = pixels.reshape(len(pixels), 3, grid, PATCH, grid, PATCH).transpose(0, 2, 4, 1, 3, 5)
    rows = cut.reshape(-1, 3 * PATCH * PATCH) @ kernel.reshape(HIDDEN, -1).T + bias
    result: Doubles = rows.reshape(len(pixels), grid, grid, HIDDEN).transpose(0, 3, 1, 2)
    return result


# ---- norms ----


def _norms() -> ProofGraph:
    rng = np.random.default_rng(9)
    scale = rng.normal(1, 0.3, NORM_WIDTH).astype(np.float32)
    bias = rng.normal(0, 0.3, NORM_WIDTH).astype(np.float32)
    shape = (1, 5, NORM_WIDTH)
    rows = rng.normal(0, 1, shape) * np.resize([1, 1, 1, 30], NORM_WIDTH)
    extremes = np.stack(
        [
            np.zeros(NORM_WIDTH),
            np.full(NORM_WIDTH, 3.0),
            rng.normal(0, 1, NORM_WIDTH) * 1e-25,  # below the epsilon
            rng.normal(0, 1, NORM_WIDTH) * 1e15,
            rng.normal(8, 1, NORM_WIDTH),
        ]
    )
    cases = tuple(_norm_case(rng, each.astype(np.float32), scale, bias) for each in (rows, extremes[None]))
    operators = (Operator.LAYER_NORM, Operator.RMS_NORM, Operator.SKIP_RMS_NORM)
    weights = {"layer_norm.weight": scale, "layer_norm.bias": bias, "rms_norm.weight": scale, "skip.weight": scale}
    return ProofGraph(operators, NORMS_GRAPH, weights, cases)


def _norm_case(rng: np.random.Generator, x: NDArray[np.float32], scale: Array, bias: Array) -> Case:
    branch = (rng.normal(0, 1, x.shape) * np.abs(x).max(-1, keepdims=True)).astype(np.float32)
    total = x + branch
    kept = "0: one addition, rounded once"
    expected = (
        _layer_norm(x.astype(np.float64), scale.astype(np.float64), bias.astype(np.float64)),
        _rms_norm(Operator.RMS_NORM, "rms_norm", x, scale),
        _rms_norm(Operator.SKIP_RMS_NORM, "skip.normed", total, scale),
        Expected(Operator.SKIP_RMS_NORM, "sums", "skip.total", total, 1.0, 0.0, kept),
    )
    return Case({"x": x, "branch": branch}, expected)


def _layer_norm(x: Doubles, scale: Doubles, bias: Doubles) -> Expected:
    """The variance may be taken as the mean square less the squared mean, which cancels where the mean is large."""
    mean, square = x.mean(-1, keepdims=True), (x * x).mean(-1, keepdims=True)
    deviation = np.sqrt(x.var(-1, keepdims=True) + NORM_EPS)
    value = (x - mean) / deviation * scale + bias
    cancelled = square / deviation**2
    off = (np.abs(x).mean(-1, keepdims=True) + np.abs(x - mean) * cancelled + np.abs(x - mean)) / deviation
    magnitude = off * np.abs(scale) + np.abs(value) + np.abs(bias)
    reason = f"a rounding for each of {NORM_WIDTH} values summed up to mean and mean square"
    return _norm(Operator.LAYER_NORM, "layer_norm", value, magnitude, reason)


def _rms_norm(operator: Operator, output: str, x: Array, scale: Array) -> Expected:
    x = x.astype(np.float64)
    value = x / np.sqrt((x * x).mean(-1, keepdims=True) + NORM_EPS) * scale
    reason = f"a rounding for each of {NORM_WIDTH} squares summed up"
    return _norm(operator, output, value, np.abs(value), reason)


def _norm(operator: Operator, output: str, value: Doubles, magnitude: Doubles, reason: str) -> Expected:
    what = "ordinary values and extremes"
    return Expected(operator, what, output, value, magnitude, (NORM_WIDTH + 4) * UNIT, reason)


# ---- activations ----


def _activations() -> ProofGraph:
    rng = np.random.default_rng(10)
    x = np.concatenate([EXTREMES, np.linspace(-10, 10, 241), rng.normal(0, 2, 64)]).astype(np.float32)  # (320,)
    bias = np.resize(np.asarray([0, 0.25, -0.5], np.float32), len(x))
    shifted = (x + bias).astype(np.float64)
    gelu = shifted * 0.5 * np.asarray([math.erfc(-value / math.sqrt(2)) for value in shifted])
    wide = x.astype(np.float64)
    silu = wide / (1 + np.exp(-np.maximum(wide, -700)))
    good = "good to four units in the last place of 1, times the input"
    expected = (
        _activation(Operator.GELU, "gelu", gelu, shifted, f"an error function {good}"),
        _activation(Operator.SILU, "silu", silu, wide, f"a logistic {good}"),
    )
    weights = {"gelu.bias": bias}
    case = Case({"x": x[None]}, expected)
    return ProofGraph((Operator.GELU, Operator.SILU), ACTIVATIONS_GRAPH, weights, (case,))


def _activation(operator: Operator, output: str, value: Doubles, x: Doubles, reason: str) -> Expected:
    what = "ordinary values and extremes"
    return Expected(operator, what, output, value[None], np.abs(x)[None], ACTIVATION_TOLERANCE, reason)


# ---- formats ----


def _formats() -> ProofGraph:
    """Every fp16 number there is, and float32 numbers that a processor may be told to take for zeros."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)]
    rng = np.random.default_rng(11)
    small = (rng.integers(-1000, 1001, 257) * 2.0**-149).astype(np.float32)
    other = (rng.integers(-1000, 1001, 257) * 2.0**-30).astype(np.float32)
    feeds = {"halves": halves, "a": small, "b": np.roll(small, 1), "c": other, "d": np.roll(other, 1) * 2.0**-90}
    feeds["d"] = feeds["d"].astype(np.float32)
    with np.errstate(under="ignore"):
        product = feeds["c"] * feeds["d"]  # float32, of denormal size
    what = "denormals"
    once = "0: one operation, rounded once"
    expected = (
        Expected(
            Operator.WIDENING, "every fp16", "widened", halves.astype(np.float64), 0.0, 0.0, "0: fp32 has them all"
        ),
        Expected(Operator.ARITHMETIC, what, "sum", feeds["a"] + feeds["b"], 0.0, 0.0, once),
        Expected(Operator.ARITHMETIC, what, "product", product, 0.0, 0.0, once),
    )
    return ProofGraph((Operator.WIDENING, Operator.ARITHMETIC), FORMATS_GRAPH, {}, (Case(feeds, expected),))
