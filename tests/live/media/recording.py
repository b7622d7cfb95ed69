"""A loudspeaker that remembers what was heard from it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
import numpy as np

from omnilmm_lite.live.ears.sound import Pcm

PART_S = 0.02


class RecordingLoudspeaker:
    """Takes sound as fast as it could be heard, or at once."""

    name = "recording"

    def __init__(self, sample_rate: int, *, is_paced: bool = False) -> None:
        self.sample_rate = sample_rate
        self.drained = self.silenced = 0  # times
        self._is_paced = is_paced
        self._parts: list[Pcm] = []

    @property
    def heard(self) -> Pcm:
        """(samples,) at `sample_rate`."""
        return np.concatenate([np.zeros(0, np.int16), *self._parts])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def play(self, pcm: Pcm) -> None:
        size = round(self.sample_rate * PART_S)
        for begin in range(0, len(pcm), size):
            self._parts.append(pcm[begin : begin + size])
            await anyio.sleep(PART_S if self._is_paced else 0)

    async def drain(self) -> None:
        self.drained += 1

    def silence(self) -> None:
        self.silenced += 1
