"""A loudspeaker of this machine."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from omnilmm_lite.live.ears.microphones.resampling import Resampler
from omnilmm_lite.live.ears.port_audio import DeviceKind, DeviceStream, Direction, device_gone, open_stream
from omnilmm_lite.live.ears.sound import Pcm
from omnilmm_lite.machine.extras import Extra

# The latency is how much sound waits in the device: the first is heard after it. What waits can be taken back.
KIND = DeviceKind(Direction.OUTPUT, "loudspeaker", "--loudspeaker", Extra.VOICE, 0.05, "do without: --voice none")
_PART_S = 0.02  # of sound, handed over at once: no call lasts much longer


class DeviceLoudspeaker:
    def __init__(self, sample_rate: int, device: str | None = None) -> None:
        """`sample_rate`: Hz, of what it plays. `device`: a part of its name, its number, or None for the system's own
        choice."""
        self.name = "loudspeaker"
        self._sample_rate = sample_rate
        self._device = device
        self._open: DeviceStream | None = None
        self._resampler: Resampler | None = None

    async def __aenter__(self) -> Self:
        self._open = await to_thread.run_sync(open_stream, KIND, self._device, self._sample_rate)
        self.name = f"loudspeaker: {self._open.name}"
        if self._open.rate != self._sample_rate:
            self._resampler = Resampler(self._sample_rate, self._open.rate)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._open is not None:
            self.silence()
            self._open.stream.close()

    async def play(self, pcm: Pcm) -> None:
        assert self._open is not None
        pcm = pcm if self._resampler is None else self._resampler.convert(pcm)
        part = round(self._open.rate * _PART_S)
        try:
            for begin in range(0, len(pcm), part):
                await to_thread.run_sync(self._write, pcm[begin : begin + part].tobytes())
        except anyio.get_cancelled_exc_class():
            self.silence()
            raise

    async def drain(self) -> None:
        assert self._open is not None
        if not self._open.stream.stopped:
            await to_thread.run_sync(self._open.stream.stop)

    def silence(self) -> None:
        assert self._open is not None
        if not self._open.stream.stopped:
            self._open.stream.abort()

    def _write(self, data: bytes) -> None:
        assert self._open is not None
        try:
            if self._open.stream.stopped:
                self._open.stream.start()
            self._open.stream.write(data)
        except self._open.error:
            raise device_gone(KIND, self._open.name) from None
