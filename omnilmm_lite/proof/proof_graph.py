"""What is proven: an operator, the graph that holds it, weights and inputs, and what must come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]

# Half a unit in float32's last place, of 1. A sum of n products, in any order, is off by at most about n of them times
# the sum of the products' magnitudes: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1.
UNIT = 2.0**-24

WHOLE = "0: whole numbers below 2^24, times a power of two, are exact in float32 in any order of sums"


class Operator(Enum):
    """A product or fused operator that the CPU presets' graphs are made of; the value is what people read."""

    INT8_PRODUCT = "MatMulIntegerToFloat"
    INT8_PRODUCT_MAPPED = "MatMulIntegerToFloat, mapped"
    ROUNDING = "QuantizeLinear"
    NBITS_FLOAT = "MatMulNBits"
    NBITS_INT8 = "MatMulNBits, int8 activations"
    FLOAT_PRODUCT = "MatMul"
    FLOAT_PRODUCT_MAPPED = "MatMul, mapped"
    CONVOLUTION = "Conv"
    ATTENTION = "MultiHeadAttention"
    CACHED_ATTENTION = "GroupQueryAttention"
    GELU = "BiasGelu"
    SILU = "QuickGelu"
    LAYER_NORM = "LayerNormalization"
    RMS_NORM = "SimplifiedLayerNormalization"
    SKIP_RMS_NORM = "SkipSimplifiedLayerNormalization"
    WIDENING = "Cast"
    ARITHMETIC = "Mul, Add"


class Family(Enum):
    """Operators that serve the same end; the value is what people read."""

    INT8 = "int8 products"
    NBITS = "4/8-bit products"
    FLOAT = "fp32 products"
    ATTENTION = "attention"
    NORM = "norms"
    ACTIVATION = "activations"
    FORMAT = "number formats"

    @property
    def operators(self) -> tuple[Operator, ...]:
        return _FAMILIES[self]


_FAMILIES = {
    Family.INT8: (Operator.INT8_PRODUCT, Operator.INT8_PRODUCT_MAPPED, Operator.ROUNDING),
    Family.NBITS: (Operator.NBITS_FLOAT, Operator.NBITS_INT8),
    Family.FLOAT: (Operator.FLOAT_PRODUCT, Operator.FLOAT_PRODUCT_MAPPED, Operator.CONVOLUTION),
    Family.ATTENTION: (Operator.ATTENTION, Operator.CACHED_ATTENTION),
    Family.NORM: (Operator.LAYER_NORM, Operator.RMS_NORM, Operator.SKIP_RMS_NORM),
    Family.ACTIVATION: (Operator.GELU, Operator.SILU),
    Family.FORMAT: (Operator.WIDENING, Operator.ARITHMETIC),
}


@dataclass(frozen=True)
class Expected:
    """What one output must be, and how far off it may be.

    `magnitude` has `value`'s shape or broadcasts to it: what a difference is measured in. Differences are divided by it
    and must not exceed `tolerance`; where it is 0, nothing may differ. `reason` says where the tolerance is from.
    """

    operator: Operator
    what: str  # values of which kind: with the operator, the name of the proof
    output: str
    value: Array
    magnitude: Array | float
    tolerance: float
    reason: str


@dataclass(frozen=True)
class Case:
    """One run. `in_place`: outputs by the input whose buffer they are written into."""

    feeds: Mapping[str, Array]
    expected: tuple[Expected, ...]
    in_place: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProofGraph:
    """One session: a graph of builtin/operators, its weights by name, and what is run through it.

    `mapped`: weights are used as they are given, as `omnilmm_lite.engine.device.open_session` says.
    """

    operators: tuple[Operator, ...]
    graph: str
    weights: Mapping[str, Array]
    cases: tuple[Case, ...]
    mapped: bool = False
