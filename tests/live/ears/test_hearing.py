"""From a microphone to questions, also while the loudspeaker speaks and while the recogniser is at work."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import numpy as np
import pytest

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.hearing import ECHO_S, Heard, Hearing, HearingEvent, NotHeard, WhileSpeaking
from omnilmm_lite.live.ears.microphones.audio_file import AudioFile
from omnilmm_lite.live.ears.microphones.pushed import PushedMicrophone
from omnilmm_lite.live.ears.opening import open_endpointer, open_recogniser
from omnilmm_lite.live.ears.push_to_talk import PushToTalk
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.live.ears.utterances import SpeechBegan, UtteranceOptions
from omnilmm_lite.live.ears.voice_endpointer import VoiceEndpointer
from tests.live.media.spoken import conversation, write_wav

FRAME = 1600  # samples: 0.1 s
OPTIONS = UtteranceOptions(onset_s=0.1, pre_roll_s=0.0, trailing_silence_s=0.4, longest_s=5.0)
PATIENCE_S = 20.0


class Told:
    """A frame has a voice if its first sample isn't 0."""

    name = "told"
    frame_samples = FRAME

    def has_voice(self, frame: Pcm) -> bool:
        return bool(frame[0])


class Counting:
    """Hears the numbers that the frames consist of; may be held up."""

    name = "counting"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_free = threading.Event()
        self.is_free.set()

    def hear(self, pcm: Pcm) -> str:
        assert self.is_free.wait(PATIENCE_S)
        numbers = pcm[::FRAME]
        self.calls.append(" ".join(str(number) for number in numbers[numbers != 0]))
        return self.calls[-1]


def frame(number: int) -> Pcm:
    return np.full(FRAME, number, np.int16)


class Room:
    """Ears with what they told, and a microphone to be spoken into."""

    def __init__(self, while_speaking: WhileSpeaking = WhileSpeaking.DEAF, talk: PushToTalk | None = None) -> None:
        self.microphone = PushedMicrophone("room")
        self.recogniser = Counting()
        endpointer = VoiceEndpointer(Told(), OPTIONS) if talk is None else talk
        self.hearing = Hearing(self.microphone, endpointer, self.recogniser, while_speaking)
        self.events: list[HearingEvent] = []

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Heard)]

    async def say(self, *numbers: int) -> None:
        """Each is heard before the next is said."""
        for number in numbers:
            self.microphone.push(frame(number), SAMPLE_RATE)
            await anyio.sleep(0.002)

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE_S):
            while not condition():
                await anyio.sleep(0.002)

    def run(self, visit: Callable[[], Awaitable[None]]) -> None:
        """Ears listen until the visit is over and all is told."""

        async def tell(event: HearingEvent) -> None:
            self.events.append(event)

        async def run() -> None:
            with anyio.fail_after(PATIENCE_S):
                async with self.microphone, anyio.create_task_group() as group:
                    group.start_soon(self.hearing.run, tell)
                    await visit()
                    self.microphone.close()

        anyio.run(run)


def test_spoken_questions_become_typed_ones(tmp_path: Path) -> None:
    said = ("Is there a dog?", "What color is it?")
    path = write_wav(tmp_path / "said.wav", conversation(*said, between_s=1.2, lead_s=0.5))
    recogniser = open_recogniser("pocketsphinx")
    assert recogniser is not None
    events: list[HearingEvent] = []

    async def tell(event: HearingEvent) -> None:
        events.append(event)

    async def listen() -> None:
        async with AudioFile(path, is_paced=False) as microphone:
            await Hearing(microphone, open_endpointer(), recogniser).run(tell)

    anyio.run(listen)
    heard = [event for event in events if isinstance(event, Heard)]
    assert [event.text for event in heard] == list(said)
    assert all(event.begin_s < event.end_s <= event.text_s and not event.is_cut for event in heard)
    assert [event.begin_s for event in events if isinstance(event, SpeechBegan)] == [each.begin_s for each in heard]


def test_words_are_recognised_while_the_silence_lasts_and_only_once() -> None:
    room = Room()

    async def visit() -> None:
        await room.say(1, 2, 0, 0)  # half of the silence that ends it
        await room.until(lambda: room.recogniser.calls == ["1 2"])
        assert room.texts == []
        await room.say(0, 0)
        await room.until(lambda: room.texts == ["1 2"])

    room.run(visit)
    assert room.recogniser.calls == ["1 2"]


def test_who_goes_on_after_a_pause_is_heard_whole() -> None:
    room = Room()

    async def visit() -> None:
        await room.say(1, 2, 0, 0)
        await room.until(lambda: room.recogniser.calls == ["1 2"])
        await room.say(3, 0, 0, 0, 0)

    room.run(visit)
    assert room.texts == ["1 2 3"]


def test_speech_is_told_at_once_also_while_words_are_recognised() -> None:
    room = Room()
    room.recogniser.is_free.clear()

    async def visit() -> None:
        await room.say(1, 0, 0, 0, 0, 2)
        await room.until(lambda: [type(event) for event in room.events] == [SpeechBegan, SpeechBegan])
        assert room.hearing.in_speech
        room.recogniser.is_free.set()
        await room.say(0, 0, 0, 0)

    room.run(visit)
    assert room.texts == ["1", "2"]


def test_its_own_voice_is_not_heard_nor_its_echo() -> None:
    room = Room()

    async def visit() -> None:
        room.hearing.speaking(True)
        await room.say(1, 2, 3, 0)
        room.hearing.speaking(False)
        await room.say(4, 0)  # the room
        await anyio.sleep(ECHO_S)
        await room.say(5, 0, 0, 0, 0)

    room.run(visit)
    assert room.texts == ["5"]
    assert len(room.events) == 2


@pytest.mark.parametrize("talk", [None, PushToTalk(OPTIONS)], ids=["headphones", "push to talk"])
def test_ears_that_hear_while_it_speaks_tell_who_speaks_then(talk: PushToTalk | None) -> None:
    room = Room(WhileSpeaking.HEAR if talk is None else WhileSpeaking.DEAF, talk)

    async def visit() -> None:
        room.hearing.speaking(True)
        room.hearing.talk(True)
        await room.say(1, 2)
        await room.until(lambda: len(room.events) == 1)
        assert isinstance(room.events[0], SpeechBegan)
        room.hearing.talk(False)
        await room.say(0, 0, 0, 0)

    room.run(visit)
    assert room.texts == ["1 2"]


def test_the_end_of_the_sound_ends_the_last_utterance() -> None:
    room = Room()

    async def visit() -> None:
        await room.say(1, 0, 2)

    room.run(visit)
    assert room.texts == ["1 2"]


def test_what_a_recogniser_fails_at_is_told_and_the_next_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    room, hear = Room(), Counting().hear

    def fail_at_first(pcm: Pcm) -> str:
        if (text := hear(pcm)).startswith("1"):
            raise OmniLMMError("it could not take an utterance")
        return text

    monkeypatch.setattr(room.recogniser, "hear", fail_at_first)

    async def visit() -> None:
        await room.say(1, 0, 0, 0, 0)
        await room.until(lambda: len(room.events) == 2)
        await room.say(2, 0, 0, 0, 0)

    room.run(visit)
    assert room.events[1] == NotHeard("it could not take an utterance")
    assert room.texts == ["2"]


def test_cancelling_ends_it() -> None:
    room = Room()

    async def tell(event: HearingEvent) -> None: ...

    async def listen() -> None:
        with anyio.fail_after(PATIENCE_S):
            async with room.microphone:
                with anyio.move_on_after(0.05) as scope:
                    await room.hearing.run(tell)
                assert scope.cancelled_caught

    anyio.run(listen)
