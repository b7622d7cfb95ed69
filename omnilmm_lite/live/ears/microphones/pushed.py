"""Sound that somebody hands over: a browser."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import anyio

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.ears.microphones.resampling import Resampler
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound

RATES = range(8_000, 384_001)  # Hz
WAITING_S = 10.0  # of sound that nobody has taken yet: beyond that the oldest is dropped


class PushedMicrophone:
    """Used in one event loop; `push` and `close` don't wait."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped_s = 0.0  # of sound, as nobody took it
        self._sounds: deque[Sound] = deque()
        self._waiting_s = 0.0
        self._is_closed = False
        self._changed = anyio.Event()
        self._resampler: tuple[int, Resampler] | None = None  # of the rate of the last push

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def push(self, pcm: Pcm, sample_rate: int) -> None:
        """(samples,) int16 that ended just now. InputError for a rate that no microphone has."""
        if sample_rate not in RATES:
            raise InputError(f"sample rate: {sample_rate} is out of range; give {RATES[0]} to {RATES[-1]} Hz")
        if sample_rate != SAMPLE_RATE:
            if self._resampler is None or self._resampler[0] != sample_rate:
                self._resampler = sample_rate, Resampler(sample_rate)
            pcm = self._resampler[1].convert(pcm)
        if not self._is_closed and len(pcm):
            self._sounds.append(Sound(pcm, time.monotonic()))
            self._waiting_s += self._sounds[-1].seconds
            while self._waiting_s > WAITING_S:
                lost = self._sounds.popleft().seconds
                self._waiting_s -= lost
                self.dropped_s += lost
            self._changed.set()

    def close(self) -> None:
        """No more sound comes: the iteration ends after what is there."""
        self._is_closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Sound]:
        while True:
            while self._sounds:
                sound = self._sounds.popleft()
                self._waiting_s -= sound.seconds
                yield sound
            if self._is_closed:
                return
            self._changed = anyio.Event()
            await self._changed.wait()
