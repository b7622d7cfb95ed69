"""Frames that somebody puts in: a browser's camera, a test."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
from PIL import Image

from omnilmm_lite.live.frames.frame import Frame


class PushedFrames:
    """Used in the session's event loop. Where frames come faster than they are taken, the last one is given."""

    waits_for_reader = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._frames = 0
        self._newest: Frame | None = None
        self._has_ended = False
        self._changed = anyio.Event()

    def put(self, picture: Image.Image) -> Frame:
        """`picture`: RGB, nobody's any more. The frame that was made of it."""
        self._frames += 1
        self._newest = Frame(picture, self._frames)
        self._changed.set()
        return self._newest

    def end(self) -> None:
        """No more will come."""
        self._has_ended = True
        self._changed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while self._newest is None:
            if self._has_ended:
                raise StopAsyncIteration
            self._changed = anyio.Event()
            await self._changed.wait()
        frame, self._newest = self._newest, None
        return frame
