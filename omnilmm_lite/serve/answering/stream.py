"""An answer on its way from the model's thread to the client, while it stays."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from starlette.types import Receive, Send

from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.serve.answering.form import AnswerForm, Choice
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.errors import ApiError, ClientLeft
from omnilmm_lite.serve.jobs import Event, Failed, Finished, QueuedTask, RequestPhase, Started, Task, TextDelta

PHASE_EVERY_S = 1.0  # a client that has vanished is noticed by what is sent to it
LOOK_EVERY_S = 0.2  # at the place in the queue


class Listener:
    """A task's events, brought from the model's thread to the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None where there was none in that time."""
        try:
            return await asyncio.wait_for(self._events.get(), timeout_s)
        except TimeoutError:
            return None


@contextlib.contextmanager
def submitted(engine: Engine, client: str, task: Task, listener: Listener) -> Iterator[QueuedTask]:
    """The task in the queue; it is cancelled where the block is left before it ended."""
    job = engine.submit(client, task, listener)
    try:
        yield job
    finally:
        engine.cancel(job)


async def whole_answer(listener: Listener, count: int) -> list[Choice]:
    """`count` answers, whole. ApiError where one of them failed."""
    choices: list[Choice] = []
    text, tokens = "", list[SaidToken]()
    while True:
        match await listener.next():
            case TextDelta() as delta:
                text += delta.text
                tokens += delta.tokens
            case Finished() as finished:
                choices.append(Choice(text, tuple(tokens), finished))
                text, tokens = "", []
                if len(choices) == count:
                    return choices
            case Failed(error):
                raise error


class AnswerStream:
    """A job's answers sent as they come."""

    def __init__(self, engine: Engine, job: QueuedTask, listener: Listener, send: Send, form: AnswerForm) -> None:
        self._engine, self._job, self._listener, self._send, self._form = engine, job, listener, send, form
        self._is_over = False

    async def run(self) -> list[Finished] | ApiError:
        """Sends the answers; returns how they ended, which the client was told."""
        event: Event | None = await self._wait_for_text()
        await self._write(self._form.begin())
        ended: list[Finished] = []
        while True:
            match event:
                case TextDelta() as delta:
                    await self._write(self._form.delta(len(ended), delta))
                case Finished() as finished:
                    last = self._form.choice_end(len(ended), finished)
                    ended.append(finished)
                    if len(ended) > len(self._job.task.more):
                        await self._end(last + self._form.end(ended))
                        return ended
                    await self._write(last)
                case Failed(error):
                    return await self.break_off(error)
            event = await self._listener.next()

    async def break_off(self, error: ApiError) -> ApiError:
        """Tells the client why there is no more, unless it has all."""
        if not self._is_over:
            await self._end(self._form.error(error))
        return error

    async def _wait_for_text(self) -> Event:
        """Says what is waited for, when it changes and each second; the first event that is more than that."""
        phase, told, told_at = RequestPhase.QUEUED, b"", 0.0
        while True:
            # place 0: it is taken, and about to start
            comment = self._form.phase(phase, max(1, self._engine.place(self._job)))
            due = time.monotonic() - told_at >= PHASE_EVERY_S
            if due or comment != told:
                told, told_at = comment, time.monotonic()
                await self._write(comment)
            event = await self._listener.next(LOOK_EVERY_S)
            if isinstance(event, Started):
                phase = event.phase
            elif event is not None:
                return event

    async def _write(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self, data: bytes) -> None:
        """The last data and the end in one: nothing comes in between, such as a probe of the connection."""
        self._is_over = True
        await self._send({"type": "http.response.body", "body": data})


async def while_connected(work: asyncio.Task[Any], receive: Receive) -> Any:
    """What `work` gives. ClientLeft, after `work` was ended, where the client hangs up before."""
    watch = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientLeft
        return work.result()
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
