"""In which number format a graph computes and in which its weights lie on disk."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from onnx import TensorProto


class Float(Enum):
    """A floating-point format that ONNX, numpy and the manifest agree on; the value is the manifest's word for it."""

    FP32 = "fp32"
    FP16 = "fp16"

    @property
    def numpy(self) -> np.dtype[np.floating]:
        return np.dtype(np.float32 if self is Float.FP32 else np.float16)

    @property
    def onnx(self) -> int:
        return int(TensorProto.FLOAT if self is Float.FP32 else TensorProto.FLOAT16)


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
