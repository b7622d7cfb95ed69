"""Noises of rooms, computed: what a detector of voices and a recogniser have to do with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm

Noise = NDArray[np.float64]  # (samples,), of any loudness


def _white(samples: int, rng: np.random.Generator) -> Noise:
    return rng.standard_normal(samples)


def _pink(samples: int, rng: np.random.Generator) -> Noise:
    """As loud in each octave: a fan, a street."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    return np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), samples)


def _hum(samples: int, rng: np.random.Generator) -> Noise:
    """The mains, and its harmonics."""
    t = np.arange(samples) / SAMPLE_RATE
    hum: Noise = sum(np.sin(2 * np.pi * 100 * n * t + n) / n for n in range(1, 12)) + _white(samples, rng) / 10
    return hum


def _keys(samples: int, rng: np.random.Generator) -> Noise:
    """Somebody types: four clicks a second."""
    keys = np.zeros(samples)
    for begin in rng.integers(0, samples - 400, samples // (SAMPLE_RATE // 4)):
        keys[begin : begin + 400] += rng.standard_normal(400) * np.exp(-np.arange(400) / 60)
    return keys


def _music(samples: int, rng: np.random.Generator) -> Noise:
    """Two plucked notes a second."""
    music, length = np.zeros(samples), SAMPLE_RATE // 2
    t = np.arange(length) / SAMPLE_RATE
    for begin in range(0, samples - length, length):
        pitch = 220 * 2 ** (rng.integers(0, 24) / 12)
        music[begin : begin + length] += sum(np.sin(2 * np.pi * pitch * n * t) for n in range(1, 6)) * np.exp(-t * 4)
    return music


NOISES: dict[str, Callable[[int, np.random.Generator], Noise]] = {
    "white": _white,
    "pink": _pink,
    "hum": _hum,
    "keys": _keys,
    "music": _music,
}


def loudness(pcm: Pcm) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)))


def noise(kind: str, samples: int, level: float) -> Pcm:
    """(samples,), the same in every run; `level`: its root of the mean square."""
    made = NOISES[kind](samples, np.random.default_rng(0))
    return _clipped(made / np.sqrt(np.mean(made**2)) * level)


def with_noise(pcm: Pcm, kind: str, decibels: float) -> Pcm:
    """`pcm` that is so many decibels louder than the noise."""
    added = noise(kind, len(pcm), loudness(pcm) / 10 ** (decibels / 20))
    return _clipped(pcm.astype(np.float64) + added)


def _clipped(sound: Noise) -> Pcm:
    clipped: Pcm = np.clip(sound, -(2**15), 2**15 - 1).astype(np.int16)
    return clipped
