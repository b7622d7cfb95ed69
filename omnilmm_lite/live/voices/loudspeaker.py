"""What any loudspeaker is."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from omnilmm_lite.live.ears.sound import Pcm


class Loudspeaker(AbstractAsyncContextManager["Loudspeaker"], Protocol):
    """An async context manager, which opens and closes it: InputError where there is nothing to open."""

    @property
    def name(self) -> str:
        """For the status line: "loudspeaker: USB Audio"."""
        ...

    async def play(self, pcm: Pcm) -> None:
        """Takes (samples,) int16 at the rate that it was opened with; returns when there is room for more, so that at
        most a few hundredths of a second wait to be heard. Cancelled, it is silent at once. OmniLMMError where the
        device is gone."""
        ...

    async def drain(self) -> None:
        """Returns when all that was taken has been heard."""
        ...

    def silence(self) -> None:
        """What was taken and isn't heard yet never will be."""
        ...
