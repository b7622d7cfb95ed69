"""Sound at another rate, by FFmpeg's resampler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.machine.extras import Extra, missing_package

if TYPE_CHECKING:
    from av import AudioFrame

FORMAT, LAYOUT = "s16", "mono"  # FFmpeg's names of what `Pcm` is


class Resampler:
    """One stream of sound, piece by piece: it keeps what the next piece needs. InputError without the package av."""

    def __init__(self, source_rate: int, rate: int = SAMPLE_RATE) -> None:
        """From `source_rate` Hz to `rate`."""
        try:
            from av import AudioFrame, AudioResampler
        except ImportError as error:
            raise missing_package("sound at another rate", error, Extra.LIVE) from None
        self._frame, self._source_rate = AudioFrame, source_rate
        self._resampler = AudioResampler(format=FORMAT, layout=LAYOUT, rate=rate)

    def convert(self, pcm: Pcm) -> Pcm:
        """(samples,) at the source's rate to (samples,) at the other."""
        if not len(pcm):
            return pcm
        frame = self._frame.from_ndarray(np.ascontiguousarray(pcm)[None], format=FORMAT, layout=LAYOUT)
        frame.sample_rate = self._source_rate
        return self._convert(frame)

    def flush(self) -> Pcm:
        """What was kept back, at the stream's end."""
        return self._convert(None)

    def _convert(self, frame: AudioFrame | None) -> Pcm:
        return joined(self._resampler.resample(frame))


def joined(frames: list[AudioFrame]) -> Pcm:
    """The samples of mono frames, (samples,)."""
    return np.concatenate([np.zeros(0, np.int16), *(frame.to_ndarray()[0] for frame in frames)])
