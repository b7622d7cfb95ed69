"""The loudspeaker that is a browser: sound goes there a little before it is heard."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, TypeAlias

import anyio

from omnilmm_lite.live.ears.sound import Pcm

PART_S = 0.25  # of sound in one piece
AHEAD_S = 0.5  # of sound that the browser has and nobody has heard yet; what it bridges is the network's hiccups

Played: TypeAlias = Pcm | None  # None: silence, at once


class BrowserLoudspeaker:
    """Used in one event loop. Whoever writes to the browser iterates over it."""

    name = "browser"

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._waiting: deque[Played] = deque()
        self._came = anyio.Event()
        self._heard_s = 0.0  # time.monotonic() when all that was sent will have been heard

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.silence()

    async def play(self, pcm: Pcm) -> None:
        size = round(PART_S * self.sample_rate)
        for begin in range(0, len(pcm), size):
            part = pcm[begin : begin + size]
            self._put(part)
            self._heard_s = max(self._heard_s, time.monotonic()) + len(part) / self.sample_rate
            await anyio.sleep(max(0.0, self._heard_s - time.monotonic() - AHEAD_S))

    async def drain(self) -> None:
        await anyio.sleep(max(0.0, self._heard_s - time.monotonic()))

    def silence(self) -> None:
        self._waiting.clear()
        self._heard_s = 0.0
        self._put(None)

    def _put(self, played: Played) -> None:
        self._waiting.append(played)
        self._came.set()

    async def __aiter__(self) -> AsyncIterator[Played]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            self._came = anyio.Event()
            await self._came.wait()
