"""A real video file, spoken questions and said answers through the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import numpy as np
import pytest

from omnilmm_lite.live.answering.endpoint import Endpoint
from omnilmm_lite.live.answering.own_decoder import OwnDecoder
from omnilmm_lite.live.answering.text_model import TextModel
from omnilmm_lite.live.ears.hearing import Hearing, WhileSpeaking
from omnilmm_lite.live.ears.microphones.pushed import PushedMicrophone
from omnilmm_lite.live.ears.opening import open_endpointer, open_recogniser
from omnilmm_lite.live.ears.sound import SAMPLE_RATE
from omnilmm_lite.live.events import (
    AnswerEnded,
    FrameDescribed,
    QuestionAsked,
    SourceEnded,
    SpeakingBegan,
    Stage,
    Summarised,
)
from omnilmm_lite.live.frames.frame import Frame
from omnilmm_lite.live.frames.video_file import VideoFile
from omnilmm_lite.live.model_turns import SharedModel
from omnilmm_lite.live.options import SessionOptions
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.live.voices.opening import open_voice
from omnilmm_lite.live.voices.speech import Speech
from tests.live.answering.fake_endpoint import FakeEndpoint, served
from tests.live.media.recording import RecordingLoudspeaker
from tests.live.media.scenes import CAT, CIRCLE, FPS, OWL, SCENES, TRIANGLE, Scene, write_video
from tests.live.media.spoken import conversation
from tests.live.sessions import GREEDY, Watched, tiny

SCENE_S = 0.5
QUESTIONS = (  # in a scene: what is said, and what is true there
    (CAT, "Is there a dog?"), (OWL, "What is this?"), (CIRCLE, "What color is it?"), (TRIANGLE, "Is there a circle?"),
)  # fmt: skip


class SteppedVideo:
    """A video that stands still at the end of each scene until it may go on: as long as the machine needs."""

    waits_for_reader = True

    def __init__(self, path: Path) -> None:
        self._video = VideoFile(path, real_time=False, fps=FPS)
        self.name = self._video.name
        self.until_s = SCENE_S
        self.frames: dict[int, Frame] = {}
        self._waiting: Frame | None = None

    async def __aenter__(self) -> Self:
        await self._video.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._video.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        frame = await anext(self._video)
        while (frame.position_s or 0.0) >= self.until_s - 1e-6:
            await anyio.sleep(0.005)
        self.frames[frame.number] = frame
        return frame

    def scene_of(self, number: int | None) -> Scene:
        """What the frame of that number showed."""
        assert number is not None
        return SCENES[int((self.frames[number].position_s or 0.0) / SCENE_S)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "scenes.mp4", seconds=SCENE_S)


def test_spoken_questions_about_a_video_are_answered_aloud_about_what_is_on_screen(video: Path) -> None:
    recogniser, voice = open_recogniser("pocketsphinx"), open_voice("piper")
    assert recogniser is not None
    assert voice is not None
    loudspeaker, microphone = RecordingLoudspeaker(voice.sample_rate), PushedMicrophone("test")

    async def play(watched: Watched) -> None:
        for count, (scene, question) in enumerate(QUESTIONS, 1):
            described = (await watched.until(FrameDescribed, count))[-1]
            assert described.description == scene.description
            for block in np.array_split(conversation(question, between_s=1.0, lead_s=0.5), 100):
                microphone.push(block, SAMPLE_RATE)
            answer = (await watched.until(AnswerEnded, count))[-1]
            assert watched.told(QuestionAsked)[-1].text == question
            assert answer.text == scene.answers[question]
            assert stepped.scene_of(answer.looked_at) is scene
            await watched.until(SpeakingBegan, count)
            stepped.until_s += SCENE_S

    async def main() -> Watched:
        hearing = Hearing(microphone, open_endpointer(), recogniser, WhileSpeaking.HEAR)
        async with stepped, microphone, loudspeaker:
            shared = SharedModel(tiny())
            watched = Watched(source=stepped)
            watched.session = LiveSession(
                shared,
                stepped,
                OwnDecoder(shared, GREEDY),
                SessionOptions(answer=GREEDY),
                hearing=hearing,
                speech=Speech(voice, loudspeaker),
            )
            await watched.run(play)
            return watched

    stepped = SteppedVideo(video)
    watched = anyio.run(main)
    assert all(each.spoken for each in watched.told(QuestionAsked))
    assert [each.question_id for each in watched.told(SpeakingBegan)] == [1, 2, 3, 4]
    assert len(loudspeaker.heard) > voice.sample_rate  # a second and more of speech
    status = watched.session.status
    assert (status.captured, status.described, status.dropped) == (len(stepped.frames), len(SCENES), 0)
    assert {each.stage for each in status.latencies} >= {Stage.DESCRIBE, Stage.LISTEN, Stage.ANSWER, Stage.SPEAK}


def test_a_question_about_before_is_answered_from_the_window_in_its_order(video: Path) -> None:
    fake = FakeEndpoint(["A cat, then an owl.", "Event: a cat, an owl.", "A circle.", "Event: all."])

    async def play(watched: Watched) -> None:
        for count, scene in enumerate(SCENES, 1):
            assert (await watched.until(FrameDescribed, count))[-1].description == scene.description
            if scene in (OWL, TRIANGLE):
                watched.session.ask("What was there before?")
                answer = (await watched.until(AnswerEnded, count // 2))[-1]
                assert answer.looked_at is None
                await watched.until(Summarised, count // 2)
            stepped.until_s += SCENE_S

    async def main(text_model: TextModel) -> None:
        async with stepped:
            await Watched(text_model=text_model, source=stepped, options=SessionOptions(window=3)).run(play)

    async def with_endpoint() -> None:
        async with Endpoint(fake.address) as endpoint:
            await main(endpoint)

    stepped = SteppedVideo(video)
    with served(fake):
        anyio.run(with_endpoint)
    first, _, second, _ = (each["messages"][1]["content"] for each in fake.asked)
    assert [line.partition(": ")[2] for line in first.splitlines() if line.startswith("- ")] == [
        CAT.description, OWL.description
    ]  # fmt: skip
    assert [line.partition(": ")[2] for line in second.splitlines() if line.startswith("- ")] == [
        OWL.description, CIRCLE.description, TRIANGLE.description
    ]  # fmt: skip
    assert "Event: a cat, an owl." in second


def test_the_source_has_an_end(video: Path) -> None:
    async def main() -> Watched:
        source = VideoFile(video, real_time=False)
        async with source:
            watched = Watched(source=source)
            await watched.run(lambda _: anyio.sleep(0))
            return watched

    watched = anyio.run(main)
    assert [each.description for each in watched.told(FrameDescribed)] == [each.description for each in SCENES]
    assert len(watched.told(SourceEnded)) == 1
