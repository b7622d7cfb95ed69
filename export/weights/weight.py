"""What quantization makes of one linear layer's weight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class QuantizedWeight:
    """Integer codes on a grid of their own per row and group of input columns: weight = (code - zero) * scale.

    Groups are contiguous in the original column order, whatever order the columns were quantized in, so that no
    reader ever needs a table of group indices.
    """

    codes: NDArray[np.uint8]  # (out, in), one code an element, original column order
    scales: NDArray[np.float32]  # (out, groups); every value is exactly representable in fp16, and may be negative
    zeros: NDArray[np.uint8]  # (out, groups)
    bits: int
    group_size: int  # columns that share a grid; equals `in` where a row is one group

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.shape[1] % self.group_size:
            raise ValueError(f"codes of shape {self.codes.shape} don't divide into groups of {self.group_size} columns")
        groups = (self.codes.shape[0], self.codes.shape[1] // self.group_size)
        if self.scales.shape != groups or self.zeros.shape != groups:
            raise ValueError(f"scales {self.scales.shape} and zeros {self.zeros.shape} must both be {groups}")

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)"""
        return self.codes.shape[0], self.codes.shape[1]

    def rows(self, rows: slice) -> QuantizedWeight:
        """Some rows of the weight, as a weight of their own."""
        return replace(self, codes=self.codes[rows], scales=self.scales[rows], zeros=self.zeros[rows])

    def dequantize(self) -> NDArray[np.float32]:
        """The weight that the codes stand for: float32 (out, in)."""
        grouped = self.codes.reshape(*self.scales.shape, self.group_size)  # (out, groups, group_size)
        weight = (grouped.astype(np.float32) - self.zeros[..., None]) * self.scales[..., None]
        return weight.reshape(self.codes.shape)


Weight: TypeAlias = Array | QuantizedWeight  # (out, in)
