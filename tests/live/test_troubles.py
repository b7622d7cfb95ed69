"""A stage that fails is told once, the others go on, and its recovery is told, too."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.answering.own_decoder import OwnDecoder
from omnilmm_lite.live.ears.hearing import Heard, HearingEvent, NotHeard
from omnilmm_lite.live.ears.utterances import SpeechBegan
from omnilmm_lite.live.events import (
    AnswerEnded,
    FrameDescribed,
    QuestionAsked,
    Recovered,
    SpeakingBegan,
    Stage,
    Trouble,
)
from omnilmm_lite.live.options import SessionOptions
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.live.stages import describing as describing_module
from tests.live.sessions import GREEDY, SlowTower, Watched, shape, until, watch


class FakeSpeech:
    """Says all pieces at once, or fails."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.fails = False
        self.holds: anyio.Event | None = None  # in the middle, until it is set

    async def say(self, pieces: AsyncIterator[str], began: Callable[[], None] = lambda: None) -> None:
        if self.fails:
            raise OmniLMMError("loudspeaker: it is gone")
        began()
        text = "".join([each async for each in pieces])
        if self.holds is not None:
            await self.holds.wait()
        self.said.append(text)


class FakeHearing:
    """Hears what the test tells it; remembers when the loudspeaker spoke."""

    in_speech = False

    def __init__(self) -> None:
        self.tell: Callable[[HearingEvent], Awaitable[None]] | None = None
        self.breaks = anyio.Event()
        self.spoke: list[bool] = []

    async def run(self, tell: Callable[[HearingEvent], Awaitable[None]]) -> None:
        self.tell = tell
        await self.breaks.wait()
        raise OmniLMMError("microphone: it was unplugged")

    async def begin(self) -> None:
        """Somebody begins to speak."""
        assert self.tell is not None
        await self.tell(SpeechBegan(time.monotonic()))

    async def hear(self, text: str) -> None:
        """Somebody has spoken."""
        assert self.tell is not None
        now = time.monotonic()
        await self.begin()
        await self.tell(Heard(text, now, now, now, False))

    def speaking(self, is_speaking: bool) -> None:
        self.spoke.append(is_speaking)

    def talk(self, is_held: bool) -> None: ...


def spoken_session() -> tuple[Watched, FakeSpeech, FakeHearing]:
    watched, speech, hearing = Watched(), FakeSpeech(), FakeHearing()
    parts: Any = {"hearing": hearing, "speech": speech}
    watched.session = LiveSession(
        watched.shared, watched.frames, OwnDecoder(watched.shared, GREEDY), SessionOptions(answer=GREEDY), **parts
    )
    return watched, speech, hearing


def test_answers_are_said_and_the_ears_are_told() -> None:
    async def main() -> None:
        watched, speech, hearing = spoken_session()

        async def play(watched: Watched) -> None:
            watched.frames.put(shape("red"))
            await watched.until(FrameDescribed)
            await hearing.hear("What is this?")
            await hearing.hear("")  # a cough
            await watched.until(AnswerEnded)
            await until(lambda: hearing.spoke[-2:] == [True, False])

        await watched.run(play)
        (question,) = watched.told(QuestionAsked)
        assert (question.text, question.spoken) == ("What is this?", True)
        assert speech.said == ["This is a red circle."]

    anyio.run(main)


def test_speech_silences_what_is_being_said() -> None:
    async def main() -> None:
        watched, speech, hearing = spoken_session()
        speech.holds = anyio.Event()

        async def play(watched: Watched) -> None:
            watched.frames.put(shape("red"))
            await watched.until(FrameDescribed)
            watched.session.ask("What is this?")
            await watched.until(SpeakingBegan)
            await watched.until(AnswerEnded)
            await hearing.begin()
            await until(lambda: hearing.spoke == [True, False])  # before a word of it is understood
            await hearing.hear("What do you see?")
            await watched.until(SpeakingBegan, 2)
            assert speech.holds is not None
            speech.holds.set()

        await watched.run(play)
        assert speech.said == ["I see a red circle."]
        assert [each.interrupted for each in watched.told(AnswerEnded)] == [False, False]
        assert hearing.spoke == [True, False, True, False]

    anyio.run(main)


def test_a_voice_that_fails_is_told_once_until_it_speaks_again() -> None:
    async def main() -> None:
        watched, speech, _ = spoken_session()
        speech.fails = True

        async def play(watched: Watched) -> None:
            watched.frames.put(shape("red"))
            for count in (1, 2):
                watched.session.ask("What is this?")
                await watched.until(AnswerEnded, count)
            (trouble,) = await watched.until(Trouble)
            assert (trouble.stage, trouble.message) == (Stage.SPEAK, "loudspeaker: it is gone")
            speech.fails = False
            watched.session.ask("What is this?")
            await watched.until(Recovered)

        await watched.run(play)
        assert len(watched.told(Trouble)) == 1
        assert speech.said == ["This is a red circle."]

    anyio.run(main)


def test_ears_that_fail_are_told_and_typed_questions_go_on() -> None:
    async def main() -> None:
        watched, _, hearing = spoken_session()

        async def play(watched: Watched) -> None:
            watched.frames.put(shape("red"))
            await watched.until(FrameDescribed)
            assert hearing.tell is not None
            await hearing.tell(NotHeard("whisper could not take an utterance"))
            await watched.until(Trouble)
            await hearing.hear("What do you see?")
            await watched.until(Recovered)
            await watched.until(AnswerEnded)
            hearing.breaks.set()
            trouble = (await watched.until(Trouble, 2))[1]
            assert (trouble.stage, trouble.message) == (Stage.LISTEN, "microphone: it was unplugged")
            watched.session.ask("What is this?")
            answer = (await watched.until(AnswerEnded, 2))[1]
            assert answer.text == "This is a red circle."

        await watched.run(play)

    anyio.run(main)


def fail_by(tower: SlowTower, failures: list[OmniLMMError]) -> None:
    """Each of them is raised once, by the next picture; what is put there later, too."""
    encode = tower.model.parts.open_tower()

    def failing(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        if failures:
            raise failures.pop()
        return encode(pixels)

    tower.model.vision._encode = failing


def test_a_model_that_fails_is_told_and_the_next_frame_is_tried(monkeypatch: Any) -> None:
    monkeypatch.setattr(describing_module, "AFTER_FAILURE_S", 0.0)
    tower = SlowTower()
    tower.go.set()
    failures = [OmniLMMError("the card has no memory left")]
    fail_by(tower, failures)

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        (trouble,) = await watched.until(Trouble)
        assert (trouble.stage, trouble.message) == (Stage.DESCRIBE, "the card has no memory left")
        watched.frames.put(shape("blue", "triangle"))
        (described,) = await watched.until(FrameDescribed)
        assert described.frame == 2
        await watched.until(Recovered)

    assert watch(play, lambda: Watched(tower.model)).session.status.dropped == 1


def test_an_answer_whose_look_fails_is_told_each_time_that_it_worked_before() -> None:
    tower = SlowTower()
    tower.go.set()
    failures: list[OmniLMMError] = []
    fail_by(tower, failures)

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        for count, colour in enumerate(("blue", "green"), 1):
            failures.append(OmniLMMError("the card has no memory left"))
            watched.frames.put(shape(colour, "triangle"))
            watched.session.ask("What is this?")
            assert (await watched.until(AnswerEnded, 2 * count - 1))[-1].text == ""
            trouble = (await watched.until(Trouble, count))[-1]
            assert (trouble.stage, trouble.message) == (Stage.ANSWER, "the card has no memory left")
            watched.session.ask("What is this?")
            await watched.until(AnswerEnded, 2 * count)
            await watched.until(Recovered, count)

    watch(play, lambda: Watched(tower.model, options=SessionOptions(answer=GREEDY, every_s=60.0)))


def test_troubles_of_others_are_told_by_the_session() -> None:
    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        for _ in range(2):
            watched.session.trouble(Stage.TRANSCRIPT, "the disk is full")
        watched.session.works(Stage.TRANSCRIPT)
        watched.session.works(Stage.TRANSCRIPT)

    watched = watch(play)
    assert [(each.stage, each.message) for each in watched.told(Trouble)] == [(Stage.TRANSCRIPT, "the disk is full")]
    assert [each.stage for each in watched.told(Recovered)] == [Stage.TRANSCRIPT]
