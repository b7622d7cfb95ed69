"""What answers a question about now better: looking at the newest frame, or its description.

python -m benchmarks.live.looking [--lag SECONDS ...]

Plays the emoji video of the tests (four scenes that tiny knows) and asks about what is there, once a second. Three ways
are compared: `look`, the model with the newest frame; `tiny`, its decoder with the last descriptions; `reader`, a
perfect reader of the last description in tiny's place, the most that any text model could make of it. `--lag`: seconds
that the tower takes for a picture besides, as a larger model's does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import anyio
import numpy as np
from numpy.typing import NDArray

import omnilmm_lite
from omnilmm_lite.engine.interrupt import check_interrupt
from omnilmm_lite.live.answering.own_decoder import OwnDecoder
from omnilmm_lite.live.answering.text_model import Message
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.events import AnswerEnded
from omnilmm_lite.live.frames.video_file import VideoFile
from omnilmm_lite.live.model_turns import SharedModel, Urgency
from omnilmm_lite.live.options import Look, SessionOptions
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams
from tests.live.media.scenes import SCENES, Scene, write_video

SCENE_S = 6.0
MOMENTS = 6  # of each scene, at which one of its questions is asked
GREEDY = SamplingParams.greedy(max_new_tokens=40)


@dataclass
class Score:
    right: int = 0
    asked: int = 0
    seconds: list[float] = field(default_factory=list)  # to the first piece

    def add(self, is_right: bool, seconds: float | None = None) -> None:
        self.asked += 1
        self.right += is_right
        if seconds is not None:
            self.seconds.append(seconds)

    def __str__(self) -> str:
        first = f"{statistics.median(self.seconds):.3f}, {max(self.seconds):.3f} s" if self.seconds else "-"
        return f"{self.right} of {self.asked} | {first}"


def scene_at(position_s: float) -> Scene:
    return SCENES[min(int(position_s / SCENE_S), len(SCENES) - 1)]


class Listener:
    """What was answered, as it came."""

    def __init__(self) -> None:
        self.answers: dict[int, AnswerEnded] = {}
        self.came = anyio.Event()

    async def take(self, events: Subscription) -> None:
        async for event in events:
            if isinstance(event, AnswerEnded):
                self.answers[event.question_id] = event
            self.came.set()
            self.came = anyio.Event()

    async def answer(self, question_id: int) -> AnswerEnded:
        while question_id not in self.answers:
            await self.came.wait()
        return self.answers[question_id]


def slower(model: Model, lag_s: float) -> Model:
    """The same model, whose tower takes `lag_s` more for each picture; it can be interrupted meanwhile."""
    encode = model.parts.open_tower()

    def wait_and_encode(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        until = time.monotonic() + lag_s
        while time.monotonic() < until:
            check_interrupt()
            time.sleep(0.01)
        return encode(pixels)

    return Model(replace(model.parts, open_tower=lambda: wait_and_encode), 0.0)


class Way(Enum):
    LOOK = "look"
    TINY = "tiny"
    READER = "reader"


class PerfectReader:
    """Answers from the last description that it is told, or says nothing."""

    name = "reader"

    def fits(self, messages: Sequence[Message]) -> bool:
        return True

    async def complete(self, messages: Sequence[Message], urgency: Urgency, on_piece: Callable[[str], None]) -> None:
        lines = messages[-1].content.splitlines()
        told = next((line.partition(" ago: ")[2] for line in reversed(lines) if line.startswith("- ")), "")
        question = lines[-1].removeprefix("Question: ")
        scene = next((each for each in SCENES if each.description == told), None)
        on_piece(scene.answers.get(question, "") if scene is not None else "")

    async def wait_until_back(self) -> None: ...


async def play(model: Model, video: Path, way: Way, score: Score) -> None:
    shared = SharedModel(model)
    options = SessionOptions(look=Look.ALWAYS if way is Way.LOOK else Look.NEVER, answer=GREEDY)
    text_model = PerfectReader() if way is Way.READER else OwnDecoder(shared, GREEDY)
    source = VideoFile(video)
    async with source:
        session = LiveSession(shared, source, text_model, options)
        listener = Listener()
        with session.subscribe() as events:
            async with anyio.create_task_group() as group:
                group.start_soon(listener.take, events)
                group.start_soon(session.run)
                began = time.monotonic()
                for moment in range(len(SCENES) * MOMENTS):
                    at_s = (moment + 0.5) * SCENE_S / MOMENTS
                    await anyio.sleep(max(began + at_s - time.monotonic(), 0))
                    questions = list(scene_at(time.monotonic() - began).answers.items())
                    question, true = questions[moment % len(questions)]
                    answer = await listener.answer(session.ask(question))
                    score.add(answer.text == true, answer.first_piece_s)
                group.cancel_scope.cancel()


def run(lags: Sequence[float]) -> None:
    model = omnilmm_lite.load("tiny")
    print(f"{len(SCENES)} scenes of {SCENE_S:g} s, asked at {MOMENTS} moments each")
    columns = [f"{way.value}: {what}" for way in Way for what in ("right", "first piece: median, longest")]
    print(f"| the tower takes besides | {' | '.join(columns)} |\n{'|--:' * (len(columns) + 1)}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder, "scenes.mp4"), seconds=SCENE_S)
        for lag_s in lags:
            scores = {way: Score() for way in Way}
            for way, score in scores.items():
                anyio.run(play, slower(model, lag_s), video, way, score)
            print(f"| {lag_s:g} s | {' | '.join(map(str, scores.values()))} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lag", type=float, nargs="+", default=[0.0, 1.0, 3.0], metavar="SECONDS")
    run(parser.parse_args().lag)
    return 0


if __name__ == "__main__":
    sys.exit(main())
