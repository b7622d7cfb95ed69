"""A place for one frame: the newest."""

from __future__ import annotations

import anyio

from omnilmm_lite.live.frames.frame import Frame


class NewestFrame:
    """Capture puts frames in, and never waits; describing takes the newest. In one event loop."""

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._changed = anyio.Event()
        self._has_ended = False
        self._is_used = False
        self.seen: Frame | None = None  # the last that was put in, whether taken or not: what is there NOW

    def put(self, frame: Frame) -> bool:
        """Whether a frame was dropped for it, which nobody had taken."""
        dropped = self._frame is not None
        self._frame = self.seen = frame
        self._tell()
        return dropped

    def end(self) -> None:
        """No more frames will come."""
        self._has_ended = True
        self._tell()

    async def wait_until_ended(self) -> None:
        while not self._has_ended:
            await self._changed.wait()

    async def take(self) -> Frame | None:
        """Waits for a frame; None when there will be none."""
        while self._frame is None:
            if self._has_ended:
                return None
            await self._changed.wait()
        frame, self._frame, self._is_used = self._frame, None, True
        self._tell()
        return frame

    def done(self) -> None:
        """What was taken isn't needed any more, or was put back."""
        self._is_used = False
        self._tell()

    def put_back(self, frame: Frame) -> bool:
        """For one that was taken and not used: False where a newer one waits, and it is dropped."""
        if self._frame is not None:
            return False
        self._frame = frame
        self._tell()
        return True

    async def wait_until_done(self) -> None:
        """For a source that waits for its reader: every frame was taken, and is done with."""
        while self._frame is not None or self._is_used:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
