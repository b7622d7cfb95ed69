"""The GPTQ checkpoint's layout of one linear layer, both ways.

With K input and N output features and g columns a group, on disk:
qweight int32 (K * bits / 32, N): consecutive inputs share a word, the first in its lowest bits;
qzeros int32 (K / g, N * bits / 32): consecutive outputs share a word, likewise;
scales fp16 (K / g, N); g_idx int32 (K): the group of each input.
Source: AutoGPTQ and gptqmodel, `QuantLinear.pack`; vLLM and transformers read the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from export.weights.weight import QuantizedWeight
from omnilmm_lite.errors import InputError

WORD_BITS = 32
SUPPORTED_BITS = (4, 8)
PARTS = ("qweight", "qzeros", "scales", "g_idx")

# One in every field of a word.
ONES = {bits: np.uint32(sum(1 << place for place in range(0, WORD_BITS, bits))) for bits in SUPPORTED_BITS}

# Kernels compute with groups of a power of two, from 16 columns on; the fast ones end at 256.
SMALLEST_KERNEL_GROUP, LARGEST_KERNEL_GROUP = 16, 256


class ZeroFormat(Enum):
    """`checkpoint_format` of a GPTQ folder: how its zero points are stored."""

    # Less one: the original slip, which every reader now expects. One is taken from every field by a subtraction of
    # whole words, as gptqmodel does it, so a zero point of 0 borrows from the field above.
    V1 = "gptq"
    V2 = "gptq_v2"  # as they are


@dataclass(frozen=True)
class Layout:
    """How finely one linear layer is quantized."""

    bits: int
    group_size: int  # -1: the whole row


@dataclass(frozen=True)
class PackedLinear:
    """The tensors of one linear layer as they stand on disk."""

    qweight: NDArray[np.int32]
    qzeros: NDArray[np.int32]
    scales: NDArray[np.float16]
    g_idx: NDArray[np.int32]


def pack(weight: QuantizedWeight, zero_format: ZeroFormat = ZeroFormat.V1) -> PackedLinear:
    """The weight's tensors as they stand on disk; InputError where rows or columns don't fill whole 32-bit words."""
    per_word = WORD_BITS // weight.bits
    if any(size % per_word for size in weight.shape):
        raise InputError(f"a weight of shape {weight.shape} can't be packed: both must be multiples of {per_word}")
    zeros = np.ascontiguousarray(_pack_rows(weight.zeros, weight.bits).T)  # (groups, words)
    if zero_format is ZeroFormat.V1:
        zeros = (zeros.view(np.uint32) - ONES[weight.bits]).view(np.int32)
    return PackedLinear(
        qweight=_pack_rows(weight.codes.T, weight.bits),
        qzeros=zeros,
        scales=np.ascontiguousarray(weight.scales.T.astype(np.float16)),
        g_idx=np.arange(weight.shape[1], dtype=np.int32) // np.int32(weight.group_size),
    )


def unpack(
    packed: PackedLinear, *, zero_format: ZeroFormat = ZeroFormat.V1, order: NDArray[np.int64] | None = None
) -> QuantizedWeight:
    """The inverse of `pack`; `order` takes the inputs in another order: column i of the result is input order[i].

    InputError where the tensors don't belong together, or where groups aren't contiguous in that order.
    """
    layout = packed_layout({part: getattr(packed, part).shape for part in PARTS})
    bits, group_size = layout.bits, layout.group_size
    codes, g_idx = _unpack_rows(packed.qweight, bits), packed.g_idx  # (K, N)
    if order is not None:
        codes, g_idx = codes[order], g_idx[order]
    groups = g_idx[::group_size]
    if not np.array_equal(g_idx, np.repeat(groups, group_size)) or not _all_once(groups):
        raise InputError(f"g_idx isn't in runs of {group_size}: groups of scattered inputs can't be used")
    zeros = np.ascontiguousarray(packed.qzeros).view(np.uint32)
    if zero_format is ZeroFormat.V1:
        zeros = zeros + ONES[bits]
    return QuantizedWeight(
        codes=np.ascontiguousarray(codes.T),
        scales=np.ascontiguousarray(packed.scales[groups].T.astype(np.float32)),
        zeros=np.ascontiguousarray(_unpack_rows(zeros.view(np.int32)[groups].T, bits)),
        bits=bits,
        group_size=group_size,
    )


def none_stored(bits: int, zero_format: ZeroFormat) -> np.int32:
    """The word of qzeros that stands for groups without zero points: the middle of the range in every field."""
    middle = ONES[bits] << np.uint32(bits - 1)
    word: np.uint32 = middle - ONES[bits] if zero_format is ZeroFormat.V1 else middle
    return word.view(np.int32)


def packed_layout(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    """What the shapes of a layer's four tensors say; InputError where they don't fit each other or can't be used."""
    ranks = {part: len(shapes[part]) for part in PARTS}
    if ranks == {"qweight": 2, "qzeros": 2, "scales": 2, "g_idx": 1}:
        (words, rows), (groups, _), (columns,) = shapes["qweight"], shapes["scales"], shapes["g_idx"]
        bits = words * WORD_BITS // max(columns, 1)
        expected = {
            "qweight": (columns * bits // WORD_BITS, rows),
            "qzeros": (groups, rows * bits // WORD_BITS),
            "scales": (groups, rows),
            "g_idx": (columns,),
        }
        if bits and rows and groups and all(tuple(shapes[part]) == expected[part] for part in PARTS):
            if bits not in SUPPORTED_BITS:
                raise InputError(f"it is quantized to {bits} bits; 4 or 8 can be used")
            if columns % groups:
                raise InputError(f"its {groups} groups don't divide its {columns} inputs evenly; use a smaller group")
            return Layout(bits, columns // groups)
    raise InputError(f"these shapes are no GPTQ linear layer: { ({part: tuple(shapes[part]) for part in PARTS}) }")


def contiguous_order(g_idx: NDArray[np.int32]) -> NDArray[np.int64] | None:
    """The order of inputs in which groups are contiguous; None where they are as they stand."""
    groups = g_idx[np.flatnonzero(np.diff(g_idx, prepend=-1))]  # the first of each run
    if _all_once(groups):
        return None
    order: NDArray[np.int64] = np.argsort(g_idx, kind="stable")
    return order


def cut_groups(weight: QuantizedWeight) -> QuantizedWeight:
    """The same weight in groups that kernels compute with: larger and odd ones become several that share a grid.

    InputError where that needs groups of less than 16 columns.
    """
    size = weight.group_size
    power = size & -size  # the largest power of two that divides it
    if size == power and SMALLEST_KERNEL_GROUP <= size <= LARGEST_KERNEL_GROUP:
        return weight
    smaller = min(power, LARGEST_KERNEL_GROUP // 2)
    if smaller < SMALLEST_KERNEL_GROUP:
        raise InputError(f"groups of {size} can't be used; quantize in groups of 32, 64 or 128")
    times = size // smaller
    return dataclasses.replace(
        weight,
        scales=np.repeat(weight.scales, times, axis=1),
        zeros=np.repeat(weight.zeros, times, axis=1),
        group_size=smaller,
    )


def _all_once(groups: NDArray[np.int32]) -> bool:
    """Whether these are 0 .. n-1 in any order."""
    return np.array_equal(np.sort(groups), np.arange(groups.size))


def _pack_rows(codes: NDArray[np.uint8], bits: int) -> NDArray[np.int32]:
    """(rows, columns) -> (rows * bits / 32, columns), the first row of each word in its lowest bits."""
    per_word = WORD_BITS // bits
    words = np.zeros((codes.shape[0] // per_word, codes.shape[1]), dtype=np.uint32)
    for place in range(per_word):
        words |= codes[place::per_word].astype(np.uint32) << np.uint32(bits * place)
    return words.view(np.int32)


def _unpack_rows(words: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    """The inverse of `_pack_rows`."""
    per_word = WORD_BITS // bits
    unsigned = np.ascontiguousarray(words).view(np.uint32)
    codes = np.empty((unsigned.shape[0] * per_word, unsigned.shape[1]), dtype=np.uint8)
    for place in range(per_word):
        codes[place::per_word] = (unsigned >> np.uint32(bits * place)) & np.uint32((1 << bits) - 1)
    return codes
