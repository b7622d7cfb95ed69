"""8-bit codes that every processor multiplies exactly: neighbouring columns are kept from overflowing 16 bits together.

Without VNNI, x86 has one instruction for bytes, VPMADDUBSW: it multiplies uint8 activations by int8 weights, adds the
products of two neighbouring columns, 2k and 2k + 1, and keeps the sum in 16 bits, saturated. onnxruntime's int8 product
is made of it there. With activations up to 255, two codes of one sign overflow where they add up to more than 128:

    255 * 128 = 32640 <= 32767 < 255 * 129

Codes of different signs never do. So a channel's scale is chosen for its loudest pair as well as its loudest weight:
normally distributed weights lose a third more than in all 8 bits, in 7 bits (codes up to 64) they would lose twice as
much. Processors with VNNI sum up in 32 bits and take any codes.
Source: Intel's Software Developer's Manual, PMADDUBSW. Held in tests/processors, natively and on emulated processors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from omnilmm_lite.bundle.layout import PAIR_SUM


def largest_pair(weight: Tensor) -> Tensor:
    """The most that two neighbouring columns' values of one sign add up to: (out, in) -> (out, 1)."""
    if weight.shape[1] < 2:
        return weight.abs().amax(1, keepdim=True)
    above, below = (_sums(weight.clamp(min=0)), _sums(weight.clamp(max=0)))
    return torch.maximum(above.amax(1, keepdim=True), -below.amin(1, keepdim=True))


def limit_pairs(codes: Tensor) -> Tensor:
    """Whole numbers (out, in), each pair's second code brought nearer to zero where the two are too much together."""
    limited = codes.clone()
    first, second = _halves(limited)
    second.copy_(within_pair(second, first))
    return limited


def within_pair(code: Tensor, neighbour: Tensor) -> Tensor:
    """`code` as near to what it was as its neighbour's lets it be; whole numbers around zero, of one dtype."""
    return code.clamp(-PAIR_SUM - neighbour.clamp(max=0), PAIR_SUM - neighbour.clamp(min=0))


def overflowing_pairs(codes: Tensor) -> int:
    """How many pairs of int8 codes (out, in) a processor without VNNI could multiply wrongly."""
    if codes.shape[1] < 2:
        return 0
    wide = codes.to(torch.int16)
    above, below = _sums(wide.clamp(min=0)), _sums(wide.clamp(max=0))
    return int(((above > PAIR_SUM) | (below < -PAIR_SUM)).sum())


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Each pair's first and second column, (out, in // 2) each, as views; an odd last column has no neighbour."""
    even = values[:, : values.shape[1] // 2 * 2]
    return even[:, 0::2], even[:, 1::2]


def _sums(values: Tensor) -> Tensor:
    first, second = _halves(values)
    return first + second  # (out, in // 2)
