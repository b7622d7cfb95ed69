"""A tower in int8: its linear layers as they were rounded, all else folded from the checkpoint when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.weights.int8 import AFTER_GELU, SYMMETRIC, Int8Linear, Int8Weight, TokenGrid
from export.weights.tower_weights import PREFIX, TowerLinear
from export.weights.weight import Array
from omnilmm_lite.formats import LinearFormat

LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
V_BIAS = "attn.v_bias"


@dataclass(frozen=True)
class Int8Block:
    """What a block has instead of the checkpoint's weights."""

    linears: Mapping[str, Int8Linear]  # by LINEARS
    v_bias: Tensor  # (hidden,), rotated as the values are

    @classmethod
    def read(cls, path: Path) -> Int8Block:
        tensors = load_file(path)
        linears = {}
        for part in LINEARS:
            rotation = int(tensors[f"{part}.rotation"])
            weight = Int8Weight(tensors[f"{part}.codes"], tensors[f"{part}.scale"])
            linears[part] = Int8Linear(weight, input_grid(part, rotation), rotation)
        return cls(linears, tensors[V_BIAS])

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        tensors: dict[str, NDArray[Any]] = {V_BIAS: self.v_bias.numpy()}
        for part, linear in self.linears.items():
            tensors[f"{part}.codes"] = linear.weight.codes.numpy()  # (out, in)
            tensors[f"{part}.scale"] = linear.weight.scale.numpy()  # (out,)
            tensors[f"{part}.rotation"] = np.asarray(linear.rotation, dtype=np.int32)
        return tensors


def input_grid(part: str, rotation: int) -> TokenGrid:
    """What a layer's inputs are rounded to. GELU's outputs keep their minimum only where nothing rotates them."""
    return AFTER_GELU if part == "mlp.fc2" and rotation == 1 else SYMMETRIC


@dataclass(frozen=True)
class Int8Tower:
    """An int8 tower as `TowerWeights`. Its residual stream is divided by powers of two, which rounds nothing."""

    checkpoint: Checkpoint
    divisors: Array  # float32 (hidden,), powers of two
    block: Callable[[int], Int8Block]
    format: LinearFormat = LinearFormat.INT8

    def linear(self, name: str) -> TowerLinear:
        index, part = _place(name)
        return self.block(index).linears[part]

    def array(self, name: str) -> Array:
        if name.endswith(V_BIAS):
            index, _ = _place(name)
            v_bias: Array = self.block(index).v_bias.numpy()
            return v_bias
        array = self.checkpoint.array(name)
        if not _writes_residual(name):
            return array
        axis = 0 if name.endswith("patch_embed.proj.weight") else -1
        shape = [1] * array.ndim
        shape[axis] = -1
        divided: Array = array / self.divisors.reshape(shape)
        return divided


def _place(name: str) -> tuple[int, str]:
    """A name in the checkpoint -> the block's number, and the place in it."""
    index, _, part = name.removeprefix(f"{PREFIX}.blocks.").partition(".")
    return int(index), part


def _writes_residual(name: str) -> bool:
    own = name.removeprefix(f"{PREFIX}.")
    return own.startswith(("cls_token", "pos_embed", "patch_embed.")) or ".norm1." in own or ".norm2." in own
