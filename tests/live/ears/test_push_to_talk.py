"""Utterances by a key."""

from __future__ import annotations

import time

import numpy as np
import pytest

from omnilmm_lite.live.ears.push_to_talk import PushToTalk
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.live.ears.utterances import SpeechBegan, Utterance, UtteranceOptions

OPTIONS = UtteranceOptions(pre_roll_s=0.2, longest_s=1.0)


def sound(number: int) -> Sound:
    """A tenth of a second that ended just now."""
    pcm: Pcm = np.full(SAMPLE_RATE // 10, number, np.int16)
    return Sound(pcm, time.monotonic())


def numbers(utterance: Utterance) -> list[int]:
    return [int(number) for number in utterance.pcm[:: SAMPLE_RATE // 10]]


def test_what_is_said_while_the_key_is_held_is_an_utterance_and_a_little_before_it() -> None:
    talk = PushToTalk(OPTIONS)
    assert [talk.hear(sound(number)) for number in range(5)] == [[]] * 5
    before = time.monotonic()
    talk.press()
    (began,) = talk.hear(sound(5))
    assert isinstance(began, SpeechBegan) and before <= began.begin_s <= time.monotonic()
    assert talk.hear(sound(6)) == []
    assert talk.in_speech
    talk.release()
    (whole,) = talk.hear(sound(7))
    assert isinstance(whole, Utterance) and not whole.is_cut
    assert numbers(whole) == [3, 4, 5, 6, 7]
    assert began.begin_s == whole.begin_s < whole.end_s <= time.monotonic()
    assert talk.hear(sound(8)) == []


def test_sound_from_before_the_key_came_up_does_not_end_it() -> None:
    talk = PushToTalk(OPTIONS)
    talk.press()
    late = sound(1)
    talk.release()
    talk.hear(late)
    (whole,) = talk.hear(sound(2))
    assert isinstance(whole, Utterance) and numbers(whole) == [1, 2]


def test_a_key_that_is_pressed_twice_or_released_when_it_is_up_changes_nothing() -> None:
    talk = PushToTalk(OPTIONS)
    talk.release()
    assert talk.hear(sound(1)) == []
    talk.press()
    talk.hear(sound(2))
    talk.press()
    talk.release()
    (whole,) = talk.hear(sound(3))
    assert isinstance(whole, Utterance) and numbers(whole) == [1, 2, 3]


def test_a_key_that_is_held_too_long_gives_what_fits() -> None:
    talk = PushToTalk(OPTIONS)
    talk.press()
    events = [event for number in range(20) for event in talk.hear(sound(number))]
    assert [type(event) for event in events] == [SpeechBegan, Utterance]
    whole = events[1]
    assert isinstance(whole, Utterance) and whole.is_cut
    assert numbers(whole) == list(range(10))
    assert not talk.in_speech


@pytest.mark.parametrize("is_held", [True, False])
def test_the_end_of_the_sound_ends_it(is_held: bool) -> None:
    talk = PushToTalk(OPTIONS)
    talk.press()
    talk.hear(sound(1))
    if not is_held:
        talk.release()
    (whole,) = talk.finish()
    assert isinstance(whole, Utterance) and numbers(whole) == [1]
    assert talk.finish() == []


def test_what_is_forgotten_is_no_utterance() -> None:
    talk = PushToTalk(OPTIONS)
    talk.press()
    talk.hear(sound(1))
    talk.forget()
    assert talk.finish() == []
    talk.press()
    assert talk.finish() == []  # there was no sound at all
