"""A session over the tests' emoji video, with spoken questions and a voice, and all latencies that it told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

import omnilmm_lite
from omnilmm_lite.live.answering.own_decoder import OwnDecoder
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.ears.hearing import Hearing, WhileSpeaking
from omnilmm_lite.live.ears.microphones.pushed import PushedMicrophone
from omnilmm_lite.live.ears.opening import open_endpointer, open_recogniser
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.live.events import (
    AnswerEnded,
    Event,
    FrameDescribed,
    SpeakingBegan,
    Stage,
    Status,
    StatusChanged,
    Trouble,
)
from omnilmm_lite.live.frames.video_file import VideoFile
from omnilmm_lite.live.model_turns import SharedModel
from omnilmm_lite.live.options import SessionOptions
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.live.voices.opening import open_voice
from omnilmm_lite.live.voices.speech import Speech
from omnilmm_lite.sampling_params import SamplingParams
from tests.live.media.recording import RecordingLoudspeaker

GREEDY = SamplingParams.greedy(max_new_tokens=40)
BLOCK = SAMPLE_RATE // 50  # samples that a microphone hands over at a time


class Quiet(RecordingLoudspeaker):
    """Takes as long as a loudspeaker does, and remembers nothing."""

    async def play(self, pcm: Pcm) -> None:
        await anyio.sleep(len(pcm) / self.sample_rate)


@dataclass
class Seen:
    """What a session told, in numbers: seconds by stage, and counts."""

    seconds: dict[Stage, list[float]] = field(default_factory=dict)
    answers: list[AnswerEnded] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    status: Status = field(default_factory=lambda: Status(0.0, 0, 0, 0, 0, 0))

    async def take(self, events: Subscription) -> None:
        async for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        match event:
            case FrameDescribed():
                self._took(Stage.DESCRIBE, event.latency_s)
            case AnswerEnded():
                self.answers.append(event)
                if event.first_piece_s is not None:
                    self._took(Stage.ANSWER, event.first_piece_s)
            case SpeakingBegan():
                self._took(Stage.SPEAK, event.first_sound_s)
            case StatusChanged():
                if event.status.captured > self.status.captured and (told := event.status.latency(Stage.CAPTURE)):
                    self._took(Stage.CAPTURE, told.last_s)
                self.status = event.status
            case Trouble():
                self.troubles.append(event.message)
            case _:
                pass

    def _took(self, stage: Stage, seconds: float) -> None:
        self.seconds.setdefault(stage, []).append(seconds)


async def say(microphone: PushedMicrophone, pcm: Pcm) -> None:
    """Block by block, as fast as it is spoken."""
    for begin in range(0, len(pcm), BLOCK):
        await anyio.sleep(BLOCK / SAMPLE_RATE)
        microphone.push(pcm[begin : begin + BLOCK], SAMPLE_RATE)


@asynccontextmanager
async def playing(
    video: Path, fps: float, *, loops: bool, speaks: bool, model: str = "tiny"
) -> AsyncIterator[tuple[LiveSession, Seen, PushedMicrophone]]:
    """A session that runs while the block does. `speaks`: with ears (pocketsphinx), fed by the microphone, and a voice
    (piper)."""
    loaded = omnilmm_lite.load(model)
    shared, microphone, source = (
        SharedModel(loaded),
        PushedMicrophone("benchmark"),
        VideoFile(video, fps=fps, loops=loops),
    )
    recogniser, voice = (open_recogniser("pocketsphinx"), open_voice("piper")) if speaks else (None, None)
    hearing = None if recogniser is None else Hearing(microphone, open_endpointer(), recogniser, WhileSpeaking.HEAR)
    speech = None if voice is None else Speech(voice, Quiet(voice.sample_rate))
    options = SessionOptions(answer=GREEDY)
    async with source, microphone:
        session = LiveSession(shared, source, OwnDecoder(shared, GREEDY), options, hearing=hearing, speech=speech)
        seen = Seen()
        with session.subscribe() as events:
            async with anyio.create_task_group() as group:
                group.start_soon(seen.take, events)
                group.start_soon(session.run)
                yield session, seen, microphone
                group.cancel_scope.cancel()
