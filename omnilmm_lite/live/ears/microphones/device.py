"""A microphone of this machine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import numpy as np
from anyio import to_thread

from omnilmm_lite.live.ears.microphones.resampling import Resampler
from omnilmm_lite.live.ears.port_audio import DeviceKind, DeviceStream, Direction, device_gone, open_stream
from omnilmm_lite.live.ears.sound import BLOCK, SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.machine.extras import Extra

# The latency is what it can keep while nobody reads, not a delay of what is read.
KIND = DeviceKind(Direction.INPUT, "microphone", "--microphone", Extra.EARS, 0.2, "give a file with --microphone")


class DeviceMicrophone:
    def __init__(self, device: str | None = None) -> None:
        """`device`: a part of its name, its number, or None for the system's own choice."""
        self.name = "microphone"
        self.overflows = 0  # times that sound was lost, as nobody read it
        self._device = device
        self._open: DeviceStream | None = None
        self._resampler: Resampler | None = None

    async def __aenter__(self) -> Self:
        self._open = await to_thread.run_sync(open_stream, KIND, self._device, SAMPLE_RATE)
        self.name = f"microphone: {self._open.name}"
        self._resampler = Resampler(self._open.rate) if self._open.rate != SAMPLE_RATE else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.stream.close()

    async def __aiter__(self) -> AsyncIterator[Sound]:
        while True:
            pcm = await to_thread.run_sync(self._read)  # a few hundredths of a second, also when it is cancelled
            yield Sound(pcm, time.monotonic())

    def _read(self) -> Pcm:
        assert self._open is not None
        try:
            data, has_overflowed = self._open.stream.read(BLOCK)
        except self._open.error:
            raise device_gone(KIND, self._open.name) from None
        self.overflows += has_overflowed
        pcm: Pcm = np.frombuffer(data, np.int16)
        return pcm if self._resampler is None else self._resampler.convert(pcm)
