"""The layout of onnxruntime's MatMulNBits: quantized weights, packed for the operator.

Source: onnxruntime, docs/ContribOperators.md, com.microsoft.MatMulNBits. `g_idx` is never written: together with packed
zero points the CPU kernel answers wrongly, and groups in column order don't need it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.weights.weight import QuantizedWeight


def pack_matmul_nbits(
    weight: QuantizedWeight,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8] | None]:
    """(codes (out, groups, group_size * bits / 8), scales (out, groups), zero points or None).

    With 4 bits two codes share a byte, the first in the low half. Zero points are packed alike, (out, groups / 2
    rounded up), and left out where all are the middle of the range, which the operator then assumes.
    """
    rows, columns = weight.codes.shape
    groups = columns // weight.group_size
    blob = _pack(weight.codes, weight.bits).reshape(rows, groups, -1)
    middle = 1 << (weight.bits - 1)
    symmetric = bool((weight.zeros == middle).all())
    return blob, weight.scales, None if symmetric else _pack(weight.zeros, weight.bits)


def _pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Packs the last axis; an odd count of 4-bit codes is filled with a zero."""
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    packed: NDArray[np.uint8] = np.bitwise_or(codes[:, 0::2], np.left_shift(codes[:, 1::2], np.uint8(4)))
    return packed
