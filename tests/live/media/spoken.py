"""Questions as somebody says them: Piper's sound, made at test time."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import numpy as np
from piper import PiperVoice, SynthesisConfig
from scipy.signal import resample_poly  # type: ignore[import-untyped]

from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.live.voices.piper_voice import installed_voice

_SETTLED = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)  # the same sound in every run


@cache
def voice() -> PiperVoice:
    return PiperVoice.load(installed_voice())


@cache
def spoken(text: str) -> Pcm:
    """`text` said once, (samples,) at SAMPLE_RATE."""
    said = np.concatenate([chunk.audio_int16_array for chunk in voice().synthesize(text, _SETTLED)])
    return resampled(said, voice().config.sample_rate)


def resampled(pcm: Pcm, rate: int, to: int = SAMPLE_RATE) -> Pcm:
    """From `rate` to another, by another resampler than the one that is tested."""
    moved: Pcm = np.clip(resample_poly(pcm.astype(np.float64), to, rate), -(2**15), 2**15 - 1).astype(np.int16)
    return moved


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * SAMPLE_RATE), np.int16)


def conversation(*texts: str, between_s: float = 2.0, lead_s: float = 1.0) -> Pcm:
    """One text after another, with silence before, between and behind them."""
    parts = [silence(lead_s)]
    for text in texts:
        parts += [spoken(text), silence(between_s)]
    return np.concatenate(parts)


def write_wav(path: Path, pcm: Pcm, rate: int = SAMPLE_RATE, channels: int = 1) -> Path:
    """`pcm`: (samples,), or (samples, channels), as 16-bit WAV by the standard library."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(pcm, dtype="<i2").tobytes())
    return path
