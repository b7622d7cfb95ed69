"""Sources whose library blocks: each call in a worker thread."""

from __future__ import annotations

import abc
import threading
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from omnilmm_lite.live.frames.frame import Frame

MOST_FPS = 10.0  # frames a second that are made pictures of; what is between them is passed over
CLOSE_S = 0.5  # so long a call that is under way may go on when the source is left


class BlockingSource(abc.ABC):
    """Subclasses open, read and close; none of the three runs beside another."""

    waits_for_reader = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._busy = threading.Lock()
        self._is_closed = False
        self._frames = 0

    @abc.abstractmethod
    def open(self) -> None:
        """InputError where there is nothing to open."""

    @abc.abstractmethod
    def read(self) -> Frame | None:
        """The next frame, numbered by `next_number`; None at the end. OmniLMMError where it breaks."""

    @abc.abstractmethod
    def close(self) -> None:
        """Also after `open` failed."""

    def next_number(self) -> int:
        """Of the next frame that is given."""
        self._frames += 1
        return self._frames

    async def pause(self) -> None:
        """Waits until the next read is worth its while: here not at all."""
        return

    async def __aenter__(self) -> Self:
        try:
            await to_thread.run_sync(self.open)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self.close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._close_alone)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        await self.pause()
        # a device that hangs is left to itself when the session ends
        frame = await to_thread.run_sync(self._read_alone, abandon_on_cancel=True)
        if frame is None:
            raise StopAsyncIteration
        return frame

    def _read_alone(self) -> Frame | None:
        with self._busy:
            return None if self._is_closed else self.read()

    def _close_alone(self) -> None:
        if not self._busy.acquire(timeout=CLOSE_S):
            return
        try:
            self._is_closed = True
            self.close()
        finally:
            self._busy.release()


def ffmpeg_failures() -> tuple[type[Exception], ...]:
    """What FFmpeg's libraries raise through PyAV; not every one of its errors is an OSError."""
    from av.error import FFmpegError

    return FFmpegError, OSError, ValueError
