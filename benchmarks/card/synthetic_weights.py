"""Weights of OmniLMM-12B's shapes as fast as they can be made: codes are slices of one pool of random numbers.

Everything else is drawn as `benchmarks.make_checkpoint` draws it. The tower's blocks repeat after a few: what a card
reads is as much, and nothing here says what the answers are worth.
"""

from __future__ import annotations

import math
import zlib
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.make_checkpoint import draw
from export.reference.layerwise import Module
from export.weights.weight import Array, QuantizedWeight, Weight
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.formats import LinearFormat
from tests.small_checkpoint import tensor_shapes

POOL = (1 << 26) - 5  # odd, so that a weight's rows aren't alike
STEP = 7919  # between the places that two seeds begin at
DISTINCT_BLOCKS = 3
DEVIATION = {4: 2.9, 8: 33.0}  # of the codes
HEAD_GAIN = 3.0  # clear favourites among the logits


@cache
def code_pool(bits: int) -> NDArray[np.uint8]:
    """Bell-shaped codes around the middle of the range."""
    middle = 1 << (bits - 1)
    noise = np.random.default_rng(bits).standard_normal(POOL, dtype=np.float32) * DEVIATION[bits]
    codes: NDArray[np.uint8] = np.clip(np.rint(noise + middle), 0, 2 * middle - 1).astype(np.uint8)
    return codes


def pooled_codes(rows: int, columns: int, bits: int, seed: int) -> NDArray[np.uint8]:
    """(rows, columns) of the pool, from the seed's place on; it begins anew at its end."""
    pool, start = code_pool(bits), seed * STEP % POOL
    count = rows * columns
    parts = [pool[start : start + count]]
    count -= len(parts[0])
    parts += [pool] * (count // POOL)
    parts.append(pool[: count % POOL])
    return np.concatenate(parts).reshape(rows, columns)


def random_weight(
    rows: int, columns: int, *, bits: int, group_size: int, symmetric: bool, seed: int, gain: float = 1.0
) -> QuantizedWeight:
    """Codes and grids that look like a rounded layer's; a product with it keeps a deviation of about `gain`."""
    rng = np.random.default_rng(seed)
    shape, middle = (rows, columns // group_size), 1 << (bits - 1)
    scales = gain / (math.sqrt(columns) * DEVIATION[bits]) * rng.uniform(0.7, 1.3, shape)
    shift = np.zeros(shape, np.int64) if symmetric else rng.integers(-2, 3, shape)
    return QuantizedWeight(
        codes=pooled_codes(rows, columns, bits, seed),
        scales=scales.astype(np.float16).astype(np.float32),
        zeros=(middle + shift).astype(np.uint8),
        bits=bits,
        group_size=group_size,
    )


class SyntheticWeights:
    """Decoder, tower and resampler in one, as the graph builders ask for them."""

    divisors: None = None

    def __init__(self, config: OmniLMMConfig, preset: Preset) -> None:
        self.config = config
        self.format = preset.tower
        self._preset = preset
        self._shapes = dict(tensor_shapes(config))
        self._blocks: dict[str, Array] = {}

    def array(self, name: str) -> Array:
        """float32; the tower's blocks are copies of the first DISTINCT_BLOCKS."""
        parts = name.split(".")
        if "blocks" not in parts:
            return self._draw(name)
        at = parts.index("blocks") + 1
        parts[at] = str(int(parts[at]) % DISTINCT_BLOCKS)
        same = ".".join(parts)
        if same not in self._blocks:
            self._blocks[same] = self._draw(same)
        return self._blocks[same]

    def linear(self, name: str) -> Weight:
        """As the preset wants it: in 4 bits, in 8, or float32."""
        if "vision_tower" in name:
            is_float = self.format is LinearFormat.FLOAT
            return self.array(f"{name}.weight") if is_float else self._rounded(name, 8)
        if name != "lm_head":
            return self._rounded(name, 4)
        if self._preset.lm_head_bits == 16:
            return self.array("lm_head.weight")
        return self._rounded(name, self._preset.lm_head_bits, HEAD_GAIN)

    def module(self, module: Module, prefix: str) -> Module:
        """The reference's module, filled: see `export.reference.layerwise.load_module`."""
        state: dict[str, Any] = {
            name: torch.from_numpy(self.array(f"{prefix}.{name}")) for name in module.state_dict()
        }  # fmt: skip
        module.load_state_dict(state, assign=True)
        return module

    def _draw(self, name: str) -> Array:
        drawn: Array = draw(name, self._shapes[name], self.config, 0).float().numpy()
        return drawn

    def _rounded(self, name: str, bits: int, gain: float = 1.0) -> QuantizedWeight:
        rows, columns = self._shapes[f"{name}.weight"]
        packing = self._preset.packing if "vision_tower" not in name else Packing.BLOCKWISE
        return random_weight(
            rows,
            columns,
            bits=bits,
            group_size=math.gcd(columns, packing.group_size),
            symmetric=not packing.has_zero_points,
            seed=zlib.crc32(name.encode()),
            gain=gain,
        )
