"""lm_head in 8 bits: a quarter of a gigabyte less to read a token, for a loss that is hard to measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.graphs.decoder import DecoderWeights
from export.weights.weight import Array, Weight
from omnilmm_lite.bundle.layout import GROUP_SIZE
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.errors import InputError
from quantize.folder.packing import Layout
from quantize.gptq.gptq import round_to_nearest

BITS = 8
HEAD_GROUP_SIZES = (GROUP_SIZE, 64, 32, 16)  # the first that divides the rows


@dataclass(frozen=True)
class RoundedHead:
    """Other weights, with lm_head rounded to nearest. GPTQ would need a second pass for what rounding does well."""

    weights: DecoderWeights
    packing: Packing = Packing.BLOCKWISE

    def linear(self, name: str) -> Weight:
        weight = self.weights.linear(name)
        if name != "lm_head" or not isinstance(weight, np.ndarray):
            return weight
        layout = head_layout(weight.shape[1], self.packing)
        sym = not self.packing.has_zero_points
        return round_to_nearest(weight, bits=BITS, group_size=layout.group_size, sym=sym)

    def array(self, name: str) -> Array:
        return self.weights.array(name)


def head_layout(columns: int, packing: Packing = Packing.BLOCKWISE) -> Layout:
    """8 bits in the packing's groups, or the largest that divide rows of `columns`; InputError where none does."""
    for size in HEAD_GROUP_SIZES if packing is Packing.BLOCKWISE else (packing.group_size,):
        if columns % size == 0:
            return Layout(BITS, size)
    raise InputError(
        f"--lm-head-bits {BITS}: rows of {columns} don't divide into groups of {size}"
        + (" or more" if packing is Packing.BLOCKWISE else "")
    )
