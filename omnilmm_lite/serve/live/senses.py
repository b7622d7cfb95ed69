"""Ears and voice of the server, which all live sessions share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from omnilmm_lite.live.ears.opening import NONE, open_endpointer
from omnilmm_lite.live.ears.recogniser import Recogniser
from omnilmm_lite.live.ears.sound import Pcm
from omnilmm_lite.live.ears.utterances import Endpointer
from omnilmm_lite.live.voices.voice import Voice


@dataclass(frozen=True)
class Senses:
    """None where the server has none; then a browser may have its own."""

    recogniser: Recogniser | None = None
    voice: Voice | None = None

    @property
    def ears_name(self) -> str:
        return NONE if self.recogniser is None else self.recogniser.name

    @property
    def voice_name(self) -> str:
        return NONE if self.voice is None else self.voice.name


def shared_senses(recogniser: Recogniser | None, voice: Voice | None) -> Senses:
    """They may be used by several sessions at once: one waits for the other. InputError where the package that finds
    utterances is missing."""
    if recogniser is not None:
        open_endpointer()
    return Senses(recogniser and SharedRecogniser(recogniser), voice and SharedVoice(voice))


def new_endpointer() -> Endpointer:
    """A session's own."""
    return open_endpointer()


class SharedRecogniser:
    """For any number of threads."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser, self._lock = recogniser, threading.Lock()
        self.name = recogniser.name

    def hear(self, pcm: Pcm) -> str:
        with self._lock:
            return self._recogniser.hear(pcm)


class SharedVoice:
    """For any number of threads, which take turns after each piece."""

    def __init__(self, voice: Voice) -> None:
        self._voice, self._lock = voice, threading.Lock()
        self.name, self.sample_rate = voice.name, voice.sample_rate

    def speak(self, text: str) -> Iterator[Pcm]:
        pieces = self._voice.speak(text)
        while True:
            with self._lock:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
