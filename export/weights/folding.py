"""Powers of two that keep a graph's numbers within fp16, folded into weights: what the graph computes stays the same.

A norm doesn't see what its input was divided by, if its epsilon is divided by the square. So whatever only a norm reads
may be divided by any number, and dividing by a power of two rounds nothing, unless it pushes numbers below fp16's
smallest normal one; `divided` looks at that. In the tower that is what attn.proj and mlp.fc2 put out, each before its
own norm, and the residual stream as a whole: all that writes it is divided, all that multiplies it by weights is
multiplied. In the decoder it is the residual stream; and down_proj takes back what up_proj's rows are divided by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from export.reference.activation_ranges import INPUT, STREAM, TOWER, ActivationRanges
from export.weights.weight import Array, QuantizedWeight, Weight
from omnilmm_lite.errors import InputError

LARGEST_FP16 = 65504.0
# What was seen may come to this and no more: an eighth of the range is kept for what wasn't.
ALLOWED = 2.0**13
# Of a weight's norm, lost to numbers below fp16's smallest normal one: about what rounding to fp16 costs all others,
# each of which is off by 2^-11 of itself at most.
ROUNDING = 2.0**-12
# The same for quantized weights, of quantization's own error: half as much beside it makes the two an eighth more.
SHARE_OF_QUANTIZATION = 0.5

BRANCHES = ("attn.proj", "mlp.fc2")
WRITERS = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias")


@dataclass(frozen=True)
class TowerFolding:
    """What the tower's numbers are divided by."""

    stream: float = 1.0  # the residual stream
    branches: Mapping[str, float] = field(default_factory=dict)  # by the layer's name; those that aren't there: 1

    @classmethod
    def choose(cls, ranges: ActivationRanges) -> Self:
        """The smallest ones by which nothing that was seen passes ALLOWED, as far as folding reaches."""
        own = {site: value for site, value in ranges.largest.items() if site.startswith(f"{TOWER}.")}
        stream = _enough(value for site, value in own.items() if _is_towers_stream(site))
        found = {site: _enough([value]) for site, value in own.items() if site.endswith(BRANCHES)}
        return cls(stream, {site: divisor for site, divisor in found.items() if divisor != 1})

    def divisor(self, site: str) -> float:
        """What the number at a site of `ActivationRanges` is divided by."""
        return self.stream if _is_towers_stream(site) else self.branches.get(site, 1.0)


@dataclass(frozen=True)
class DecoderFolding:
    """What the decoder's numbers are divided by."""

    stream: float = 1.0
    inner: Mapping[str, float] = field(default_factory=dict)  # by down_proj's name: its input; not there: 1

    @classmethod
    def choose(cls, ranges: ActivationRanges) -> Self:
        """As the tower's."""
        unfolded = cls(2.0)  # whose `divisor` tells what belongs to the stream
        own = {site: value for site, value in ranges.largest.items() if not site.startswith(f"{TOWER}.")}
        stream = _enough(value for site, value in own.items() if unfolded.divisor(site) != 1)
        layers = [site.removesuffix(f".{INPUT}") for site in own if site.endswith(f".down_proj.{INPUT}")]
        inner = {down: _enough([own[f"{down}.{INPUT}"], own[_up(down)]]) for down in layers}
        return cls(stream, {name: divisor for name, divisor in inner.items() if divisor != 1})

    def divisor(self, site: str) -> float:
        """What the number at a site of `ActivationRanges` is divided by."""
        if site.endswith((".mlp.up_proj", f".down_proj.{INPUT}")):
            return self.inner.get(f"{site.rpartition('.mlp.')[0]}.mlp.down_proj", 1.0)
        is_stream = site == "model.embed_tokens" or site.endswith((".o_proj", ".down_proj", f".{STREAM}"))
        return self.stream if is_stream else 1.0


def _is_towers_stream(site: str) -> bool:
    return site.startswith(f"{TOWER}.") and site.endswith((f".{STREAM}", ".norm1", ".norm2", ".patch_embed.proj"))


def _up(down: str) -> str:
    return down.replace("down_proj", "up_proj")


def _enough(values: Iterable[float]) -> float:
    """The smallest power of two, 1 at least, by which the largest of them comes to ALLOWED or less."""
    largest, divisor = max(values, default=0.0), 1.0
    while largest / divisor > ALLOWED:
        divisor *= 2
    return divisor


# ---- weights ----


def divided(weight: Weight, divisor: float, name: str) -> Weight:
    """The weight over a power of two. InputError where fp16 can't hold the result as well as it holds the weight."""
    if divisor == 1:
        return weight
    result: Weight
    if isinstance(weight, QuantizedWeight):
        result = replace(weight, scales=weight.scales / np.float32(divisor))
        lost, allowed = _lost_of_quantized(weight, divisor)
    else:
        result = weight / np.float32(divisor)
        lost, allowed = _norm(_shift(weight, divisor)), ROUNDING * _norm(weight)
    if not lost <= allowed:  # also where it is NaN
        raise InputError(
            f"{name}: to keep what the model computes within fp16, this weight would have to be divided by "
            f"{divisor:g}, and fp16 can't hold the result: take --preset cpu for this checkpoint, and report it"
        )
    return result


def _shift(values: Array, divisor: float) -> Array:
    """How far each value, divided in fp16, is from where that format's 11 bits of normal numbers would put it."""
    with np.errstate(over="ignore", invalid="ignore"):
        folded = (values / np.float32(divisor)).astype(np.float16).astype(np.float32) * np.float32(divisor)
        mantissa, exponent = np.frexp(values)
        shift: Array = folded - np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent)
    return shift


def _lost_of_quantized(weight: QuantizedWeight, divisor: float) -> tuple[float, float]:
    """What moved scales do to the weights, and how much is allowed beside an error that is even within half a step."""
    grouped = weight.codes.reshape(*weight.scales.shape, weight.group_size)  # (out, groups, group_size)
    steps = grouped.astype(np.float32) - weight.zeros[..., None]
    lengths = np.sqrt(np.einsum("ogk,ogk->og", steps, steps))
    lost = _norm(_shift(weight.scales, divisor) * lengths)
    return lost, SHARE_OF_QUANTIZATION * _norm(weight.scales) * math.sqrt(weight.group_size / 12)


def _norm(values: Array) -> float:
    return float(np.linalg.norm(values))
