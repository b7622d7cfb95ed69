"""Random quantized weights, made as the packed bytes that a format stores: quantizing floats would take hours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Every 4-bit value is as likely as any other: 16 steps with a standard deviation of 4.6, here of that of a real layer.
STANDARD_DEVIATION = 0.02
STEP_4BIT = STANDARD_DEVIATION / 4.61


def packed_bytes(random: np.random.Generator, *shape: int) -> NDArray[np.uint8]:
    """Uniform bytes, two 4-bit values each."""
    return random.integers(0, 256, shape, dtype=np.uint8)


def scales(random: np.random.Generator, step: float, *shape: int) -> NDArray[np.float16]:
    """Steps that differ a little: equal ones could be taken for one."""
    return (step * random.uniform(0.8, 1.2, shape).astype(np.float32)).astype(np.float16)
