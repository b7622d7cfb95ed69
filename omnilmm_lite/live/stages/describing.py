"""The newest frame, if it is a new sight, becomes a description."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import anyio
from anyio import to_thread

from omnilmm_lite.answer.generation import Answer
from omnilmm_lite.engine.interrupt import Interrupted
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.answering.memory import Description, Memory
from omnilmm_lite.live.events import FrameDescribed, Stage
from omnilmm_lite.live.frames.difference import Signature
from omnilmm_lite.live.frames.frame import Frame
from omnilmm_lite.live.frames.newest import NewestFrame
from omnilmm_lite.live.frames.prepared_frame import PreparedFrame, signature_of, thumbnail_of
from omnilmm_lite.live.journal import Journal
from omnilmm_lite.live.model_turns import SharedModel, Turn, Urgency
from omnilmm_lite.live.options import SessionOptions

AFTER_FAILURE_S = 1.0  # before the next try, where the model failed


class Describing:
    """Also knows which frame a question had better look at."""

    def __init__(
        self, model: SharedModel, newest: NewestFrame, memory: Memory, journal: Journal, options: SessionOptions
    ) -> None:
        self._model, self._newest, self._memory = model, newest, memory
        self._journal, self._options = journal, options
        self._described: PreparedFrame | None = None  # the last one
        self._under_way: PreparedFrame | None = None
        self._first = anyio.Event()

    async def run(self) -> None:
        """Until no more frames come."""
        try:
            await self._describe_all()
        finally:
            self._first.set()

    async def first(self) -> None:
        """Returns when there is a description, or when there won't be one."""
        await self._first.wait()

    async def newest(self) -> PreparedFrame | None:
        """The frame that shows what is there now; None before the first.

        Where that looks like one whose features are there already, or are being made, it is that one: it answers
        sooner, and the eye finds no difference.
        """
        frame = self._newest.seen
        if frame is None:
            return None
        signature = await to_thread.run_sync(signature_of, frame)
        for known in (self._under_way, self._described):
            if known is not None and (known.frame is frame or known.looks_like(signature, self._options.threshold)):
                return known
        return await self._prepared(frame, signature)

    async def _describe_all(self) -> None:
        began = -math.inf
        while True:
            with anyio.move_on_after(max(began + self._options.every_s - time.monotonic(), 0)):
                await self._newest.wait_until_ended()  # nobody waits for the pause then
            frame = await self._newest.take()
            if frame is None:
                return
            signature = await to_thread.run_sync(signature_of, frame)
            if self._described and self._described.looks_like(signature, self._options.threshold):
                self._journal.meter.unchanged += 1
                self._journal.changed()
            else:
                began = time.monotonic()
                await self._attempt(frame, signature)
            self._newest.done()

    async def _attempt(self, frame: Frame, signature: Signature) -> None:
        """One that a question interrupts is tried again, unless a newer one waits."""
        meter = self._journal.meter
        try:
            prepared = await self._prepared(frame, signature)
            self._under_way = prepared
            await self._describe(prepared)
        except Interrupted:
            if not self._newest.put_back(frame):
                meter.dropped += 1
        except OmniLMMError as error:
            meter.dropped += 1
            self._first.set()  # who waits for a description may wait long
            self._journal.trouble(Stage.DESCRIBE, str(error))
            await anyio.sleep(AFTER_FAILURE_S)
        finally:
            self._under_way = None
            self._journal.changed()

    async def _prepared(self, frame: Frame, signature: Signature) -> PreparedFrame:
        image = await to_thread.run_sync(self._model.model.vision.prepare, frame.picture)
        return PreparedFrame(frame, signature, image)

    async def _describe(self, prepared: PreparedFrame) -> None:
        frame, pieces = prepared.frame, list[str]()
        async with self._model.turn(Urgency.DESCRIPTION, encodes=prepared.image.pixel_hash) as turn:
            await turn.stream(lambda: self._pieces(prepared, turn), pieces.append)
        text = "".join(pieces).strip()
        now = time.monotonic()
        latency = now - frame.captured_s
        thumbnail = await to_thread.run_sync(thumbnail_of, frame)
        sha256 = await to_thread.run_sync(lambda: frame.sha256)
        journal, captured_s = self._journal, self._journal.since(frame.captured_s)
        self._described = prepared
        self._memory.saw(Description(captured_s, text))
        journal.meter.described += 1
        journal.meter.took(Stage.DESCRIBE, latency)
        journal.works(Stage.DESCRIBE)
        journal.tell(
            FrameDescribed(
                journal.since(now), frame.number, sha256, text, captured_s, round(latency, 4), thumbnail, frame.picture
            )
        )
        self._first.set()

    def _pieces(self, prepared: PreparedFrame, turn: Turn) -> Iterator[str]:
        """In the worker's thread."""
        chat = self._model.model.chat(prepared.image)
        turn.encoded()
        answer: Answer = chat.answer(self._options.prompt, self._options.description)
        yield from answer
