"""The tensors of a graph by size: what they take in its data file, and in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from omnilmm_lite.bundle.layout import ALIGNMENT, INLINE_BYTES
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.target import Device

# onnxruntime's CPU engine packs the codes of a 4- or 8-bit product for its kernels, together with a copy of the scales
# and one float a group beside it (the sum of the group's zero points and scales). The original codes are unmapped after
# that, the original scales stay. Measured on decoders of full width with 1 and 3 layers, onnxruntime 1.32: 124.5 MiB a
# layer for 111.3 MiB of data, and this rule gives 124.3.
CPU_SCALE_COPIES = 3


class Role(Enum):
    """What a tensor is to the operator that reads it."""

    PLAIN = "plain"
    GROUP_CODES = "codes of MatMulNBits"
    GROUP_SCALES = "scales of MatMulNBits"


@dataclass(frozen=True)
class TensorSize:
    """One tensor's bytes: `stored` in the file, `computed` once it is loaded."""

    name: str
    stored: int
    computed: int  # in the format that operators see: more than `stored` where weights are widened at loading
    role: Role = Role.PLAIN

    def loaded(self, device: Device) -> int:
        """The bytes that the tensor takes in the engine's memory."""
        copies = CPU_SCALE_COPIES if device is Device.CPU and self.role is Role.GROUP_SCALES else 1
        return self.computed * copies


def data_bytes(tensors: Iterable[TensorSize]) -> int:
    """The bytes of the graph's data file, exactly: each tensor begins on a page of its own."""
    end = 0
    for tensor in tensors:
        if tensor.stored > INLINE_BYTES:
            end = -(-end // ALIGNMENT) * ALIGNMENT + tensor.stored
    return end


def loaded_bytes(tensors: Iterable[TensorSize], device: Device) -> int:
    return sum(tensor.loaded(device) for tensor in tensors)


def loading_bytes(tensors: Iterable[TensorSize], device: Device, packing: Packing = Packing.BLOCKWISE) -> int:
    """What the engine needs for a moment while it loads, beside what it keeps.

    On the CPU the largest tensor once more: its packed copy is made while the original is mapped; measured as above,
    and with int8 and fp32 products. On a card, for kernels that want another layout, all codes and scales once more,
    and the largest of them while it is turned: an assumption, that no original goes before the last is packed.
    """
    if device is Device.CPU:
        return max((tensor.computed for tensor in tensors), default=0)
    if packing is Packing.BLOCKWISE:
        return 0
    packed = [tensor.computed for tensor in tensors if tensor.role is not Role.PLAIN]
    return sum(packed) + max(packed, default=0)
