"""Number formats: what a graph computes in, what its weights are stored in, and how linear layers are quantized."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Float(Enum):
    """A floating-point format that ONNX, numpy and the manifest agree on; the value is the manifest's word for it."""

    FP32 = "fp32"
    FP16 = "fp16"

    @property
    def numpy(self) -> np.dtype[np.floating]:
        return np.dtype(np.float32 if self is Float.FP32 else np.float16)


@dataclass(frozen=True)
class Precision:
    """`compute` is what the operators see. Weights stored narrower are widened once, when the session is created."""

    compute: Float
    storage: Float

    def __str__(self) -> str:
        same = self.compute is self.storage
        return self.compute.value if same else f"{self.compute.value}, weights stored as {self.storage.value}"


FP32 = Precision(Float.FP32, Float.FP32)
FP16 = Precision(Float.FP16, Float.FP16)
FP32_FROM_FP16 = Precision(Float.FP32, Float.FP16)


class LinearFormat(Enum):
    """How a graph's linear layers keep their weights; the value is what people read."""

    FLOAT = "float"  # in the graph's own precision
    INT8 = "int8"  # both sides of the product are 8-bit integers; activations are rounded while it runs. CPU only
    BITS8 = "8 bits"  # weights only, in groups of 128: MatMulNBits
