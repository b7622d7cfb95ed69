"""Utterances by a key: one lasts as long as the key is held."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.live.ears.utterances import SpeechBegan, SpeechEvent, Utterance, UtteranceOptions


class PushToTalk:
    """Where no key comes up (most terminals report none) `release` is a second press: the caller's to decide."""

    def __init__(self, options: UtteranceOptions | None = None) -> None:
        options = UtteranceOptions() if options is None else options
        self._pre_roll = round(options.pre_roll_s * SAMPLE_RATE)  # samples, as the next
        self._longest = round(options.longest_s * SAMPLE_RATE)
        self._before: deque[Pcm] = deque()  # what was heard before the key, no more than the pre-roll needs
        self._parts: list[Pcm] = []
        self._begin_s: float | None = None  # None: the key is up
        self._end_s: float | None = None  # not None: it came up, and the sound of that moment isn't here yet
        self._is_told = False  # that speech began

    @property
    def in_speech(self) -> bool:
        return self._begin_s is not None

    def press(self) -> None:
        """Nothing where the key is down."""
        if self._begin_s is None:
            self._begin_s, self._end_s, self._is_told = time.monotonic(), None, False
            self._parts = list(self._before)
            self._before.clear()

    def release(self) -> None:
        """Nothing where the key is up."""
        if self._begin_s is not None and self._end_s is None:
            self._end_s = time.monotonic()

    def hear(self, sound: Sound) -> Sequence[SpeechEvent]:
        if self._begin_s is None:
            self._before.append(sound.pcm)
            while self._before and sum(map(len, self._before)) - len(self._before[0]) >= self._pre_roll:
                self._before.popleft()
            return []
        events: list[SpeechEvent] = [] if self._is_told else [SpeechBegan(self._begin_s)]
        self._is_told = True
        self._parts.append(sound.pcm)
        is_full = sum(map(len, self._parts)) >= self._longest
        if is_full or (self._end_s is not None and sound.end_s >= self._end_s):
            events.append(self._ended(self._begin_s, sound.end_s if self._end_s is None else self._end_s, is_full))
        return events

    def finish(self) -> Sequence[SpeechEvent]:
        if self._begin_s is None or not self._parts:
            self.forget()
            return []
        return [self._ended(self._begin_s, time.monotonic() if self._end_s is None else self._end_s, is_cut=False)]

    def forget(self) -> None:
        self._before.clear()
        self._parts = []
        self._begin_s = self._end_s = None

    def _ended(self, begin_s: float, end_s: float, is_cut: bool) -> Utterance:
        pcm = np.concatenate(self._parts)[: self._longest]
        self.forget()
        return Utterance(pcm, begin_s, end_s, is_cut)
