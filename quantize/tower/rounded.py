"""A tower whose linear layers have 8-bit weights in groups, for cards: activations stay as they are."""

from __future__ import annotations

from dataclasses import dataclass

from export.checkpoint.checkpoint import Checkpoint
from export.weights.tower_weights import TowerLinear
from export.weights.weight import Array
from omnilmm_lite.bundle.layout import GROUP_SIZE, widest_block
from omnilmm_lite.formats import LinearFormat
from quantize.gptq.gptq import round_to_nearest

BITS = 8


@dataclass(frozen=True)
class RoundedTower:
    """`export.weights.tower_weights.TowerWeights`, rounded to nearest whenever asked for.

    That costs less than 1e-4 of a block's cosine. GPTQ would take two thirds of it off, for hours of fc2's Hessians.
    """

    checkpoint: Checkpoint
    format: LinearFormat = LinearFormat.BITS8
    divisors: None = None

    def linear(self, name: str) -> TowerLinear:
        weight = self.checkpoint.array(f"{name}.weight")
        group_size = widest_block(weight.shape[1], GROUP_SIZE)
        return round_to_nearest(weight, bits=BITS, group_size=group_size)

    def array(self, name: str) -> Array:
        return self.checkpoint.array(name)
