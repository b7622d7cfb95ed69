"""Utterances by voice activity: one begins with a voice and ends with silence."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.live.ears.utterances import SpeechBegan, SpeechEvent, SpeechPaused, Utterance, UtteranceOptions
from omnilmm_lite.live.ears.voice_activity import VoiceActivity


@dataclass(frozen=True)
class _Frame:
    pcm: Pcm  # (frame_samples,)
    begin_s: float
    end_s: float


class VoiceEndpointer:
    """Holds at most an utterance of the longest length, whatever it hears."""

    def __init__(self, activity: VoiceActivity, options: UtteranceOptions | None = None) -> None:
        options = UtteranceOptions() if options is None else options
        self._activity = activity
        frame_s = activity.frame_samples / SAMPLE_RATE
        self._onset = math.ceil(options.onset_s / frame_s)  # all these in frames
        self._trailing = math.ceil(options.trailing_silence_s / frame_s)
        self._pause = math.ceil(self._trailing / 2)
        self._longest = math.ceil(options.longest_s / frame_s)
        self._before: deque[_Frame] = deque(maxlen=self._onset + math.ceil(options.pre_roll_s / frame_s))
        self._rest = np.zeros(0, np.int16)  # less than a frame
        self._frames: list[_Frame] = []  # of the utterance under way; none: silence
        self._begin_s = self._end_s = 0.0  # its first and last voice
        self._voiced = self._silent = 0  # frames of voice in silence, of silence in an utterance, up to now

    @property
    def in_speech(self) -> bool:
        return bool(self._frames)

    def hear(self, sound: Sound) -> Sequence[SpeechEvent]:
        return [event for frame in self._split(sound) for event in self._hear(frame)]

    def finish(self) -> Sequence[SpeechEvent]:
        ended = [self._ended(is_cut=False)] if self._frames else []
        self.forget()
        return ended

    def forget(self) -> None:
        self._rest = self._rest[:0]
        self._before.clear()
        self._frames = []
        self._voiced = self._silent = 0

    def _split(self, sound: Sound) -> Iterator[_Frame]:
        size = self._activity.frame_samples
        pcm = np.concatenate([self._rest, sound.pcm])
        whole = len(pcm) - len(pcm) % size
        self._rest = pcm[whole:]
        for begin in range(0, whole, size):
            end_s = sound.end_s - (len(pcm) - begin - size) / SAMPLE_RATE
            yield _Frame(pcm[begin : begin + size], end_s - size / SAMPLE_RATE, end_s)

    def _hear(self, frame: _Frame) -> Iterator[SpeechEvent]:
        has_voice = self._activity.has_voice(frame.pcm)
        if not self._frames:
            self._before.append(frame)
            self._voiced = self._voiced + 1 if has_voice else 0
            if self._voiced == self._onset:
                self._frames = list(self._before)
                self._before.clear()
                self._begin_s, self._end_s, self._silent = self._frames[-self._onset].begin_s, frame.end_s, 0
                yield SpeechBegan(self._begin_s)
            return
        self._frames.append(frame)
        if has_voice:
            self._end_s, self._silent = frame.end_s, 0
        else:
            self._silent += 1
        if self._silent == self._pause < self._trailing:
            yield SpeechPaused(self._ended(is_cut=False))
        if self._silent == self._trailing:
            yield self._ended(is_cut=False)
            self._before.extend(self._frames[-self._silent :])
            self._frames, self._voiced = [], 0
        elif len(self._frames) >= self._longest:
            yield self._ended(is_cut=True)
            self._frames, self._voiced = [], 0

    def _ended(self, *, is_cut: bool) -> Utterance:
        kept = len(self._frames) - max(self._silent - self._pause, 0)
        pcm = np.concatenate([frame.pcm for frame in self._frames[:kept]])
        return Utterance(pcm, self._begin_s, self._end_s, is_cut)
