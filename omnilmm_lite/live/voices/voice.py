"""What any voice can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from omnilmm_lite.live.ears.sound import Pcm


class Voice(Protocol):
    """Speech from text. Not for two threads at once."""

    @property
    def name(self) -> str:
        """For the status line: "piper: en_US-joe-medium"."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz, of what `speak` yields."""
        ...

    def speak(self, text: str) -> Iterator[Pcm]:
        """`text` as sound, piece by piece, each int16 (samples,) at `sample_rate`; nothing for a text without a
        sound. Each step takes a while: call it in a thread. OmniLMMError where the voice itself fails."""
        ...
