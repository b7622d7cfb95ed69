"""What a screen shows."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import anyio
from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.frames.blocking import BlockingSource
from omnilmm_lite.live.frames.frame import Frame

if TYPE_CHECKING:
    from mss import MSS

SCREEN_FPS = 5.0  # a full picture each time, which costs more than a camera's


class Screen(BlockingSource):
    """All screens together, or one of them."""

    def __init__(self, number: int | None = None) -> None:
        """`number`: from 1; None takes all, side by side."""
        super().__init__("screen" if number is None else f"screen:{number}")
        self._number = number or 0
        self._capture: MSS | None = None
        self._due = 0.0

    def open(self) -> None:
        """InputError where there is no screen, or none of that number."""
        from mss import MSS

        try:
            self._capture = MSS()
            monitors = len(self._capture.monitors) - 1
        except _failures():
            raise InputError(
                f"{self.name}: no screen can be seen from here; run it in the desktop's own session (on Linux an X11 "
                "one, with DISPLAY set)"
            ) from None
        if self._number > monitors:
            only = (
                "there is one; name screen:1" if monitors == 1 else f"there are {monitors}; name screen:1 to {monitors}"
            )
            raise InputError(f"{self.name}: {only}, or screen for all")

    def read(self) -> Frame | None:
        if self._capture is None:
            return None
        try:
            shot = self._capture.grab(self._capture.monitors[self._number])
        except _failures():
            raise OmniLMMError(f"{self.name}: the screen gives no more pictures") from None
        picture = Image.frombytes("RGB", shot.size, shot.bgra, "raw", "BGRX")
        return Frame(picture, self.next_number())

    def close(self) -> None:
        if self._capture is not None:
            with contextlib.suppress(*_failures()):  # the screen may be gone
                self._capture.close()
            self._capture = None

    async def pause(self) -> None:
        """Until it is time for the next one."""
        now = time.monotonic()
        self._due = max(self._due + 1 / SCREEN_FPS, now)
        await anyio.sleep(self._due - now)


def _failures() -> tuple[type[Exception], ...]:
    """What mss raises; also, where the X server is gone, the AssertionError of an answer that isn't there."""
    from mss import ScreenShotError

    return ScreenShotError, OSError, AssertionError
