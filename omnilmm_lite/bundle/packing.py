"""How a card's bundle lays out the decoder's quantized products, by which onnxruntime chooses their kernels."""

from __future__ import annotations

from enum import Enum

from omnilmm_lite.bundle.layout import GROUP_SIZE, NBITS_ROW_MULTIPLE
from omnilmm_lite.bundle.target import Device

# What the kernels called fpA_intB take of MatMulNBits in onnxruntime-gpu's wheel, whose build of them is the compact
# one: fp16 activations, 4 or 8 bits in groups of 32, neither zero points nor bias nor g_idx, and rows that these
# divide. Source: onnxruntime, docs/contrib_ops/cuda/matmul_nbits.md, section 6.
FPA_INTB_GROUP_SIZE = 32
FPA_INTB_ROW_MULTIPLES = {4: 64, 8: 32}  # by bits
FLOAT_BITS = 16  # of a last layer that isn't quantized
# A card's fp16 product of 32009 rows reads each of its rows from an odd address on; this divides 64 bytes of fp16.
FLOAT_ROW_MULTIPLE = 32


class Packing(Enum):
    """The value is the manifest's and the command line's word for it."""

    BLOCKWISE = "blockwise"  # any groups, with zero points: what every kernel of MatMulNBits but the fast ones takes
    FPA_INTB = "fpa-intb"  # groups of 32 without zero points, which the fast ones take as well

    @property
    def group_size(self) -> int:
        """Weights of a row that share a scale, where nothing else is asked for."""
        return FPA_INTB_GROUP_SIZE if self is Packing.FPA_INTB else GROUP_SIZE

    @property
    def has_zero_points(self) -> bool:
        """Whether groups may have any."""
        return self is Packing.BLOCKWISE


def head_row_multiple(bits: int, target: Device, packing: Packing) -> int:
    """What the last layer's rows are filled up to a multiple of, with rows of zeros whose logits are cut off.

    `bits`: 4, 8, or FLOAT_BITS where it isn't quantized. 1: it stays as it is.
    """
    if bits == FLOAT_BITS:
        return FLOAT_ROW_MULTIPLE if target is Device.CUDA else 1
    return FPA_INTB_ROW_MULTIPLES[bits] if packing is Packing.FPA_INTB else NBITS_ROW_MULTIPLE


def padded(rows: int, multiple: int) -> int:
    """The least multiple that is no less than `rows`."""
    return -(-rows // multiple) * multiple
