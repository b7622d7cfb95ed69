"""From a stream of sound to whole utterances: what any way of finding them has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.ears.sound import Pcm, Sound

LONGEST_S = 60.0  # an utterance may be bounded to this at most


@dataclass(frozen=True)
class UtteranceOptions:
    """When an utterance begins and ends, in seconds. InputError for what can't be."""

    onset_s: float = 0.09  # so much voice begins one: a click has less
    pre_roll_s: float = 0.3  # kept from before that: a first consonant has little voice
    trailing_silence_s: float = 0.6  # so much silence ends one: between two words there is less; a half is kept
    longest_s: float = 15.0  # one that goes on is cut here

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("onset", self.onset_s, 0.01, 1.0),
            ("pre-roll", self.pre_roll_s, 0.0, 2.0),
            ("trailing silence", self.trailing_silence_s, 0.1, 5.0),
            ("longest utterance", self.longest_s, 1.0, LONGEST_S),
        ):
            if not least <= value <= most:
                raise InputError(f"{name}: {value:g} is out of range; give {least:g} to {most:g} seconds")


@dataclass(frozen=True)
class SpeechBegan:
    """Somebody began to speak: what is being said to them may stop."""

    begin_s: float  # time.monotonic() of the first voice


@dataclass(frozen=True)
class Utterance:
    """What somebody said between two silences, or while the key was held."""

    pcm: Pcm  # (samples,), at SAMPLE_RATE, with a little silence before and behind
    begin_s: float  # time.monotonic() of the first voice, or when the key went down
    end_s: float  # of the last voice, or when the key came up: latency counts from here
    is_cut: bool = False  # it went on beyond `longest_s`


@dataclass(frozen=True)
class SpeechPaused:
    """A silence that may be the end, about half as long as one that is: `so_far` is worth recognising meanwhile. The
    utterance that ends without another voice is the same."""

    so_far: Utterance


SpeechEvent: TypeAlias = SpeechBegan | SpeechPaused | Utterance


class Endpointer(Protocol):
    """Finds utterances in sound that is handed over as it comes."""

    def hear(self, sound: Sound) -> Sequence[SpeechEvent]:
        """What began or ended in `sound`. Fast enough for the event loop."""
        ...

    def finish(self) -> Sequence[SpeechEvent]:
        """No more sound will come: what is under way is an utterance."""
        ...

    def forget(self) -> None:
        """What came so far is nobody's question, and nothing that comes is joined to it."""
        ...

    @property
    def in_speech(self) -> bool:
        """An utterance is under way."""
        ...
