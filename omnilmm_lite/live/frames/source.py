"""Where frames come from, as a session sees it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

from omnilmm_lite.live.frames.frame import Frame


class FrameSource(AbstractAsyncContextManager["FrameSource"], Protocol):
    """A camera, a video, a folder, a screen, or what somebody puts in.

    `async with source:` opens it, with InputError where it can't be had (one line: which camera, what is wrong); the
    end of the block closes it, and no thread is left. Between, `async for frame in source` gives frames until the
    source has ended. OmniLMMError where it breaks in the middle: one line; the source has ended then.
    """

    @property
    def name(self) -> str:
        """For people: `camera:0`, a file's name, `screen`."""
        ...

    @property
    def waits_for_reader(self) -> bool:
        """Whether the next frame comes when the reader is ready for it, so that none needs to be dropped (a folder); a
        camera doesn't."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Frame: ...
