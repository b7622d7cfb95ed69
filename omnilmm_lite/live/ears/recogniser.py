"""What any recogniser of speech can do."""

from __future__ import annotations

from typing import Protocol

from omnilmm_lite.live.ears.sound import Pcm


class Recogniser(Protocol):
    """Words from one utterance at a time. Not for two threads at once."""

    @property
    def name(self) -> str:
        """As `--ears` was given: "pocketsphinx", "vosk:FOLDER"."""
        ...

    def hear(self, pcm: Pcm) -> str:
        """What was said in `pcm` (samples,), int16 at SAMPLE_RATE: a question as somebody would type it, or "" for no
        word. Takes a while: call it in a thread. OmniLMMError where the recogniser itself fails."""
        ...
