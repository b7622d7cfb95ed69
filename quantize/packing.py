"""The GPTQ checkpoint's layout of one linear layer, both ways.

With K input and N output features and g columns a group, on disk:
qweight int32 (K * bits / 32, N): consecutive inputs share a word, the first in its lowest bits;
qzeros int32 (K / g, N * bits / 32): consecutive outputs share a word, likewise;
scales fp16 (K / g, N); g_idx int32 (K): the group of each input.
Source: AutoGPTQ and gptqmodel, `QuantLinear.pack`; vLLM and transformers read the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.errors import InputError
from quantize.weight import QuantizedWeight

WORD_BITS = 32


class ZeroFormat(Enum):
    """`checkpoint_format` of a GPTQ folder: how its zero points are stored."""

    V1 = "gptq"  # zero - 1, modulo 2^bits: the original slip, which every reader now expects
    V2 = "gptq_v2"  # as they are


@dataclass(frozen=True)
class PackedLinear:
    """The tensors of one linear layer as they stand on disk."""

    qweight: NDArray[np.int32]
    qzeros: NDArray[np.int32]
    scales: NDArray[np.float16]
    g_idx: NDArray[np.int32]


def pack(weight: QuantizedWeight, zero_format: ZeroFormat = ZeroFormat.V1) -> PackedLinear:
    """InputError where rows or columns don't fill whole 32-bit words."""
    per_word = WORD_BITS // weight.bits
    if any(size % per_word for size in weight.shape):
        raise InputError(f"a weight of shape {weight.shape} can't be packed: both must be multiples of {per_word}")
    groups = np.arange(weight.shape[1], dtype=np.int32) // weight.group_size
    zeros = weight.zeros.T  # (groups, out)
    if zero_format is ZeroFormat.V1:
        zeros = (zeros - np.uint8(1)) & np.uint8((1 << weight.bits) - 1)
    return PackedLinear(
        qweight=_pack_rows(weight.codes.T, weight.bits),
        qzeros=np.ascontiguousarray(_pack_rows(zeros.T, weight.bits).T),
        scales=np.ascontiguousarray(weight.scales.T.astype(np.float16)),
        g_idx=groups,
    )


def unpack(packed: PackedLinear, bits: int, zero_format: ZeroFormat = ZeroFormat.V1) -> QuantizedWeight:
    """The inverse of `pack`. InputError where the tensors don't belong together or groups aren't contiguous."""
    columns = packed.g_idx.size
    group_size = _checked_group_size(packed, bits)
    if not np.array_equal(packed.g_idx, np.arange(columns) // group_size):
        raise InputError(
            f"g_idx isn't 0, 0, ..., 1, 1, ... in runs of {group_size}: act-order without static groups can't be "
            "used; quantize with desc_act=false or static_groups=true"
        )
    zeros = _unpack_rows(packed.qzeros.T, bits).T  # (groups, out)
    if zero_format is ZeroFormat.V1:
        zeros = (zeros + np.uint8(1)) & np.uint8((1 << bits) - 1)
    return QuantizedWeight(
        codes=np.ascontiguousarray(_unpack_rows(packed.qweight, bits).T),
        scales=np.ascontiguousarray(packed.scales.T.astype(np.float32)),
        zeros=np.ascontiguousarray(zeros.T),
        bits=bits,
        group_size=group_size,
    )


def _checked_group_size(packed: PackedLinear, bits: int) -> int:
    columns: int = packed.g_idx.size
    groups: int
    groups, rows = packed.scales.shape if packed.scales.ndim == 2 else (0, 0)
    expected = {
        "qweight": (columns * bits // WORD_BITS, rows),
        "qzeros": (groups, rows * bits // WORD_BITS),
        "scales": (groups, rows),
        "g_idx": (columns,),
    }
    found = {name: getattr(packed, name).shape for name in expected}
    if found != expected or not groups or columns % groups or columns * bits % WORD_BITS or rows * bits % WORD_BITS:
        raise InputError(f"these shapes are no {bits}-bit GPTQ linear layer: {found}")
    return columns // groups


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
