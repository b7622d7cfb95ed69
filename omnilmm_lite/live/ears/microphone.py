"""What any microphone is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from omnilmm_lite.live.ears.sound import Sound


class Microphone(AbstractAsyncContextManager["Microphone"], Protocol):
    """An async context manager, which opens and closes it, and within that an async iterator of what it hears.

    The iteration ends where the sound does (a file's end). InputError on entering where there is nothing to open;
    OmniLMMError while iterating where the device is gone.
    """

    @property
    def name(self) -> str:
        """For the status line: "microphone: USB Audio", "questions.wav"."""
        ...

    def __aiter__(self) -> AsyncIterator[Sound]: ...
