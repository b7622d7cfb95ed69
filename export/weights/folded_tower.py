"""A tower's weights with powers of two folded in, for graphs in fp16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.weights.folding import BRANCHES, WRITERS, TowerFolding, divided
from export.weights.int8 import Int8Linear
from export.weights.tower_weights import PREFIX, TowerLinear, TowerWeights
from export.weights.weight import Array
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.formats import LinearFormat

NORMED = {"norm1": "attn.proj", "norm2": "mlp.fc2"}  # which layer's output a norm reads
READERS = ("attn.qkv", "mlp.fc1")  # of the residual stream


@dataclass(frozen=True)
class FoldedTower:
    """`export.weights.tower_weights.TowerWeights`; the graph divides its norms' epsilons, see `norm_divisor`.

    Biases and tables of positions are not looked at for loss: they are added to numbers that are in fp16 themselves,
    whose steps are as wide as the smallest ones that dividing can bring a weight to.
    """

    weights: TowerWeights
    folding: TowerFolding
    divisors: None = None

    @property
    def format(self) -> LinearFormat:
        return self.weights.format

    def linear(self, name: str) -> TowerLinear:
        weight = self.weights.linear(name)
        if isinstance(weight, Int8Linear):
            raise OmniLMMError(f"{name}: nothing is folded into layers in int8, whose graphs are not in fp16")
        return divided(weight, self._divisor(name), name)

    def array(self, name: str) -> Array:
        array = self.weights.array(name)
        stem, _, kind = name.rpartition(".")
        if stem.endswith(BRANCHES):
            divisor = self._divisor(stem)
        elif name.removeprefix(f"{PREFIX}.") in WRITERS or stem.endswith(tuple(f".{norm}" for norm in NORMED)):
            divisor = self.folding.stream
        else:
            return array
        if kind == "weight":
            return np.asarray(divided(array, divisor, name))
        return array / np.float32(divisor)

    def check(self, blocks: int) -> None:
        """InputError where fp16 can't hold a folded weight of one of the `blocks`, or of the patches' layer before
        them: what `linear` and `array` would raise later."""
        names = [f"{PREFIX}.blocks.{index}" for index in range(blocks)]
        for layer in (f"{name}.{part}" for name in names for part in (*BRANCHES, *READERS)):
            if self._divisor(layer) != 1:
                self.linear(layer)
        for stem in (*(f"{name}.{norm}" for name in names for norm in NORMED), f"{PREFIX}.patch_embed.proj"):
            self.array(f"{stem}.weight")

    def norm_divisor(self, norm: str) -> float:
        """What the input of the norm of this name is divided by."""
        block, _, own = norm.rpartition(".")
        return self.folding.branches.get(f"{block}.{NORMED[own]}", 1.0) if own in NORMED else self.folding.stream

    def _divisor(self, linear: str) -> float:
        if linear.endswith(READERS):
            return 1 / self.folding.stream
        return self.folding.branches.get(linear, 1.0)


def norm_divisor(weights: TowerWeights, norm: str) -> float:
    """What the graph of these weights finds its norm's input divided by; 1 where nothing is folded."""
    return weights.norm_divisor(norm) if isinstance(weights, FoldedTower) else 1.0
