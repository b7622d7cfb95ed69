"""The ways to quantize a tower that were tried, winners and losers. What won stands in quantize/tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from benchmarks.tower.trunk import READING, Linear, Site
from export.weights.int8 import AFTER_GELU, SYMMETRIC, Int8Linear, Int8Weight
from export.weights.rotation import rotate
from quantize.gptq.gptq import quantize_weight, round_to_nearest
from quantize.gptq.grid import GridMethod
from quantize.tower.weights import gptq_linear

ALPHAS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SEARCH_TOKENS = 2048


@dataclass(frozen=True)
class Layer:
    """A linear layer, and what calibration brings to it."""

    site: Site
    weight: Tensor  # (out, in)
    inputs: Tensor  # (tokens, in)

    @cached_property
    def hessian(self) -> Tensor:
        return self.inputs.T @ self.inputs / len(self.inputs)


@dataclass(frozen=True)
class Variant:
    name: str
    bits: str  # weights / activations
    cost: str  # what it adds to the running graph
    approximate: Callable[[Layer], Linear]
    value_rotation: int = 1  # of attention's output, folded into the layers around it


def int8(
    layer: Layer,
    *,
    stream: int = 1,
    inner: int = 1,
    gelu_grid: bool = False,
    gptq: frozenset[Site] = frozenset(),
    largest_code: int | None = None,
) -> Linear:
    """`stream` and `inner`: Hadamard blocks at qkv and fc1, and at fc2. `gptq`: where weights aren't just rounded.
    `largest_code`: codes up to it, alone or beside each other; None: limited in pairs, as the graphs have them."""
    rotation = stream if layer.site in READING else inner if layer.site is Site.FC2 else 1
    grid = AFTER_GELU if gelu_grid and layer.site is Site.FC2 else SYMMETRIC
    if layer.site in gptq:
        return gptq_linear(layer.weight, layer.hessian, grid=grid, rotation=rotation)
    if largest_code is not None:
        return Int8Linear(_evenly(rotate(layer.weight, rotation), largest_code), grid, rotation)
    return Int8Linear.round(layer.weight, grid=grid, rotation=rotation)


def _evenly(weight: Tensor, largest_code: int) -> Int8Weight:
    scale = weight.abs().amax(1) / largest_code
    return Int8Weight(torch.round(weight / scale[:, None]).to(torch.int8), scale)


def int8_weights_only(layer: Layer) -> Linear:
    return _product(Int8Weight.round(layer.weight).dequantize())


def smoothed(layer: Layer, *, alpha: float | None, sites: frozenset[Site] = frozenset(Site)) -> Linear:
    """SmoothQuant (Xiao et al. 2022): channels divided by absmax^alpha / weight absmax^(1 - alpha). None: searched."""
    if layer.site not in sites:
        return Int8Linear.round(layer.weight)
    if alpha is not None:
        return _divided(layer.weight, _smoothing(layer, alpha))
    sample = layer.inputs[:: max(1, len(layer.inputs) // SEARCH_TOKENS)]
    exact = sample @ layer.weight.T

    def error(linear: Linear) -> float:
        return float((linear(sample) - exact).square().sum())

    return min((_divided(layer.weight, _smoothing(layer, candidate)) for candidate in ALPHAS), key=error)


def tamed(layer: Layer) -> Linear:
    """Only channels louder than the median are divided, by the root of how much louder; none is amplified."""
    loudness = layer.inputs.abs().amax(0)
    return _divided(layer.weight, (loudness / loudness.median()).clamp(min=1).sqrt())


def grouped(layer: Layer, *, bits: int, group_size: int, gptq: bool) -> Linear:
    """Weights on the grids of MatMulNBits, activations as they are."""
    if gptq:
        quantized = quantize_weight(
            layer.weight, layer.hessian, bits=bits, group_size=group_size, desc_act=True, grid=GridMethod.WEIGHTED
        )
    else:
        quantized = round_to_nearest(layer.weight, bits=bits, group_size=group_size)
    return _product(torch.from_numpy(quantized.dequantize()))


def _smoothing(layer: Layer, alpha: float) -> Tensor:
    if alpha == 0:
        return torch.ones(layer.weight.shape[1])
    tiny = 1e-6
    loudness, weight = layer.inputs.abs().amax(0).clamp(min=tiny), layer.weight.abs().amax(0).clamp(min=tiny)
    scale: Tensor = loudness**alpha / weight ** (1 - alpha)
    return scale / scale.log().mean().exp()


def _divided(weight: Tensor, scale: Tensor) -> Linear:
    linear = Int8Linear.round(weight * scale)
    return lambda x: linear(x / scale)


def _product(weight: Tensor) -> Linear:
    return lambda x: x @ weight.T


ALL = frozenset(Site)
NOT_FC2 = ALL - {Site.FC2}
NEAREST = Variant("int8", "8/8", "none", int8)
ROTATED = Variant(
    "Hadamard 64, values 16, fc2 32",
    "8/8",
    "a 64x64 product at qkv and fc1, 32x32 at fc2",
    partial(int8, stream=64, inner=32),
    value_rotation=16,
)
RECIPE = Variant(
    "Hadamard 64, values 16, GELU grid",
    "8/8",
    "a 64x64 product at qkv and fc1",
    partial(int8, stream=64, gelu_grid=True),
    value_rotation=16,
)
INT8 = (
    Variant("weights alone in int8", "8/32", "(no such operator)", int8_weights_only),
    NEAREST,
    Variant("+ GPTQ", "8/8", "none", partial(int8, gptq=ALL)),
    Variant("SmoothQuant 0.5", "8/8", "Mul at qkv, fc1, fc2", partial(smoothed, alpha=0.5)),
    Variant("SmoothQuant searched", "8/8", "Mul at qkv, fc1, fc2", partial(smoothed, alpha=None)),
    Variant("SmoothQuant searched, not fc2", "8/8", "Mul at qkv, fc1", partial(smoothed, alpha=None, sites=NOT_FC2)),
    Variant("loud channels tamed", "8/8", "Mul at qkv, fc1, fc2", tamed),
    Variant("GELU grid at fc2", "8/8", "none: saves a ReduceMin", partial(int8, gelu_grid=True)),
    RECIPE,
    ROTATED,
    Variant(
        "Hadamard 128, values 16, fc2 128",
        "8/8",
        "a 128x128 product at qkv, fc1, fc2",
        partial(int8, stream=128, inner=128),
        value_rotation=16,
    ),
    Variant(
        "Hadamard 64, values 16, fc2 32, GPTQ but at fc2",
        "8/8",
        "as without GPTQ",
        partial(int8, stream=64, inner=32, gptq=NOT_FC2),
        value_rotation=16,
    ),
    Variant(
        "Hadamard 64, values 16, GELU grid, GPTQ but at fc2",
        "8/8",
        "a 64x64 product at qkv and fc1",
        partial(int8, stream=64, gelu_grid=True, gptq=NOT_FC2),
        value_rotation=16,
    ),
    Variant(
        "Hadamard 64, values 16, GELU grid, GPTQ",
        "8/8",
        "a 64x64 product at qkv and fc1",
        partial(int8, stream=64, gelu_grid=True, gptq=ALL),
        value_rotation=16,
    ),
    Variant(
        "Hadamard 64, values 16, fc2 32, GPTQ",
        "8/8",
        "as without GPTQ",
        partial(int8, stream=64, inner=32, gptq=ALL),
        value_rotation=16,
    ),
)
# What exact sums on every processor cost: the same with codes that overflow where there is no VNNI, and with 7 bits.
CODES = tuple(
    Variant(f"{base.name}, {what}", f"{bits}/8", base.cost, partial(form, largest_code=code), base.value_rotation)
    for base, form in ((NEAREST, int8), (RECIPE, partial(int8, stream=64, gelu_grid=True)))
    for what, bits, code in (("all codes", 8, 127), ("limited in pairs", 8, None), ("7 bits", 7, 64))
)
WEIGHT_ONLY = tuple(
    Variant(
        f"{bits} bits, groups of {size}, {'GPTQ' if gptq else 'nearest'}",
        f"{bits}/32",
        "MatMulNBits",
        partial(grouped, bits=bits, group_size=size, gptq=gptq),
    )
    for bits, size, gptq in (
        (4, 128, False),
        (4, 128, True),
        (4, 64, False),
        (4, 64, True),
        (4, 32, False),
        (4, 32, True),
        (8, 128, False),
        (8, 128, True),
    )
)
