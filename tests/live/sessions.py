"""Sessions for tests: a model whose tower waits until it may go on, and everything that was told."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import omnilmm_lite
from omnilmm_lite.engine.interrupt import check_interrupt
from omnilmm_lite.live.answering.own_decoder import OwnDecoder
from omnilmm_lite.live.answering.text_model import TextModel
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.events import Event
from omnilmm_lite.live.frames.pushed import PushedFrames
from omnilmm_lite.live.frames.source import FrameSource
from omnilmm_lite.live.model_turns import SharedModel
from omnilmm_lite.live.options import SessionOptions
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams

E = TypeVar("E")

GREEDY = SamplingParams.greedy(max_new_tokens=32)
LONGEST_S = 30.0  # a test that waits for so long has failed


@cache
def tiny() -> Model:
    return omnilmm_lite.load("tiny", threads=1, check_files=False)


def shape(colour: str, kind: str = "circle", size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A scene that tiny knows: one shape on white."""
    picture = Image.new("RGB", size, "white")
    width, height = size
    box = (width * 0.35, height * 0.3, width * 0.65, height * 0.7)
    draw = ImageDraw.Draw(picture)
    if kind == "circle":
        draw.ellipse(box, fill=colour)
    elif kind == "rectangle":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(width * 0.5, height * 0.25), (width * 0.3, height * 0.75), (width * 0.7, height * 0.75)], colour)
    return picture


class SlowTower:
    """tiny, but its tower waits for `go` before each picture, looking at the interrupt meanwhile."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.starts = 0  # pictures that it began
        self.ends = 0  # that it has encoded
        encode = tiny().parts.open_tower()

        def wait_and_encode(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
            self.starts += 1
            while not self.go.wait(0.005):
                check_interrupt()
            features = encode(pixels)
            self.ends += 1
            return features

        self.model = Model(replace(tiny().parts, open_tower=lambda: wait_and_encode), 0.0)


class Watched:
    """A session over frames that the test puts in, and what it told."""

    def __init__(
        self,
        model: Model | None = None,
        text_model: TextModel | None = None,
        options: SessionOptions | None = None,
        source: FrameSource | None = None,
    ) -> None:
        """`source`: instead of the frames that the test puts in."""
        self.shared = SharedModel(model or tiny())
        self.frames = PushedFrames("test")
        options = options or SessionOptions(answer=GREEDY)
        self.session = LiveSession(
            self.shared, source or self.frames, text_model or OwnDecoder(self.shared, GREEDY), options
        )
        self.events: list[Event] = []
        self.ended = False  # the session's events have
        self._came = anyio.Event()

    def told(self, kind: type[E]) -> list[E]:
        return [each for each in self.events if isinstance(each, kind)]

    async def until(self, kind: type[E], count: int = 1) -> list[E]:
        """Waits until `count` events of that kind have been told; all of them."""
        while len(found := self.told(kind)) < count:
            self._came = anyio.Event()
            await self._came.wait()
        return found

    async def take(self, events: Subscription) -> None:
        async for event in events:
            self.events.append(event)
            self._came.set()
        self.ended = True

    async def run(self, play: Callable[[Watched], Awaitable[None]]) -> None:
        """The session, and `play` beside it; the frames end with `play`."""
        with self.session.subscribe() as events, anyio.fail_after(LONGEST_S):
            async with anyio.create_task_group() as group:
                group.start_soon(self.take, events)
                group.start_soon(self.session.run)
                await play(self)
                self.frames.end()


def watch(play: Callable[[Watched], Awaitable[None]], make: Callable[[], Watched] = Watched) -> Watched:
    """Plays it to the end of the session."""

    async def main() -> Watched:
        found = make()
        await found.run(play)
        return found

    return anyio.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so that no event tells of."""
    with anyio.fail_after(LONGEST_S):
        while not condition():
            await anyio.sleep(0.005)


def session_threads() -> Sequence[threading.Thread]:
    """Those that run, but for this one."""
    return [each for each in threading.enumerate() if each is not threading.current_thread()]
