"""Sound as everything in `live` passes it on: 16-bit samples, one channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, of all that ears hear: the rate of every recogniser here

BLOCK = 512  # samples, of which a device or a file gives one after another: 32 ms

Pcm: TypeAlias = NDArray[np.int16]  # (samples,)


@dataclass(frozen=True)
class Sound:
    """A few hundredths of a second from a microphone."""

    pcm: Pcm  # (samples,), at SAMPLE_RATE
    end_s: float  # time.monotonic() when the last of them was heard

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_RATE
