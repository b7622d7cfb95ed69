"""From a request's bytes to a task that the model can run, and the answer back to the client while it stays."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Send

from omnilmm_lite.answer.generation import room_for_answer
from omnilmm_lite.answer.grammar import Grammar, GrammarCompiler
from omnilmm_lite.engine.vision import PreparedImage
from omnilmm_lite.errors import ContextFullError, InputError, OmniLMMError
from omnilmm_lite.model import Model
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.serve.engine import Engine, Event, Failed, Finished, Job, Phase, Piece, Started, Task
from omnilmm_lite.serve.errors import SERVER_ERROR, ApiError, invalid
from omnilmm_lite.serve.events import DONE, Completion, sse_error, sse_phase
from omnilmm_lite.serve.request.chat_request import ChatRequest, read_request
from omnilmm_lite.serve.request.fields import parse_object, printable
from omnilmm_lite.serve.request.pictures import Fetch, picture_bytes
from omnilmm_lite.serve.request.response_format import FIELD

CHARACTERS_PER_TOKEN = 64  # more than any token has: a longer text can't fit, and need not be tokenized to know
PHASE_EVERY_S = 1.0  # a client that has vanished is noticed by what is sent to it
LOOK_EVERY_S = 0.2  # at the place in the queue


class ClientLeft(Exception):
    """Nobody listens any more."""


@dataclass(frozen=True)
class Asker:
    """Checks requests, in any thread."""

    model: Model
    name: str
    fetch: Fetch | None

    def read(self, body: bytes) -> tuple[ChatRequest, Task]:
        """The request, and its task without the picture. ApiError says what is wrong with it."""
        request = read_request(parse_object(body), self.model.sampling)
        if request.model != self.name:
            raise ApiError(404, f"model: there is no {printable(request.model)!r} here, only {self.name!r}",
                           "model", "model_not_found")  # fmt: skip
        context = self.model.text.decoder.context
        length = sum(len(message["content"]) for message in request.messages)
        if length > CHARACTERS_PER_TOKEN * context:
            raise invalid(f"messages: {length} characters can't fit the context of {context} tokens; shorten them",
                          "messages", "context_length_exceeded")  # fmt: skip
        try:
            ids = self.model.encode_chat(request.messages, image=request.image_url is not None)
            room_for_answer(len(ids), context)
        except ContextFullError as error:
            raise invalid(str(error), "messages", "context_length_exceeded") from None
        except InputError as error:
            raise invalid(str(error), "messages") from None
        return request, Task(ids, None, request.params, request.stop, self.grammar(request.schema))

    def grammar(self, schema: dict[str, Any] | None) -> Grammar | None:
        """ApiError where the schema is none, or the library for it is not installed."""
        if schema is None:
            return None
        try:
            return self._compiler.json_schema(schema)
        except InputError as error:
            raise invalid(f"{FIELD}: {error}", FIELD) from None

    @functools.cached_property
    def _compiler(self) -> GrammarCompiler:
        bundle, config = self.model.bundle, self.model.config
        tokenizer = bundle.path(bundle.manifest.graphs.tokenizer)
        return GrammarCompiler(tokenizer, config.decoder.vocab_size, config.tokens.eos)

    def picture_file(self, url: str) -> bytes:
        """May wait for the network, where the user allowed that."""
        return picture_bytes(url, self.fetch)

    def prepare(self, file: bytes) -> PreparedImage:
        """The picture as the tower takes it. ApiError where it can't be had from the file."""
        try:
            return self.model.vision.prepare(load_image(file))
        except InputError as error:
            raise invalid(str(error), "messages", "invalid_image") from None
        except OmniLMMError as error:  # the memory is short, which isn't the client's fault
            raise ApiError(500, str(error), type=SERVER_ERROR) from None


class Listener:
    """A job's events, brought from the model's thread to the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """None where there was none in that time."""
        try:
            return await asyncio.wait_for(self._events.get(), timeout_s)
        except TimeoutError:
            return None


@contextlib.contextmanager
def submitted(engine: Engine, client: str, task: Task, listener: Listener) -> Iterator[Job]:
    """The job, which is cancelled when the block is left before it ended."""
    job = engine.submit(client, task, listener)
    try:
        yield job
    finally:
        engine.cancel(job)


async def whole_answer(
    engine: Engine, client: str, task: Task, completion: Completion
) -> tuple[dict[str, Any], Finished]:
    """The response's body. ApiError where the answer failed."""
    listener, text = Listener(), ""
    with submitted(engine, client, task, listener):
        while True:
            match await listener.next():
                case Piece(piece):
                    text += piece
                case Finished() as finished:
                    return completion.whole(text, finished), finished
                case Failed(error):
                    raise error


class Stream:
    """An answer sent as it comes."""

    def __init__(self, engine: Engine, job: Job, listener: Listener, send: Send) -> None:
        self._engine, self._job, self._listener, self._send = engine, job, listener, send

    async def run(self, completion: Completion, *, include_usage: bool) -> Finished | ApiError:
        """How it ended, which the client was told."""
        event: Event | None = await self._wait_for_text()
        await self._write(completion.first_chunk())
        while True:
            match event:
                case Piece(text):
                    await self._write(completion.chunk(text))
                case Finished() as finished:
                    usage = completion.usage_chunk(finished) if include_usage else b""
                    await self._write(completion.last_chunk(finished) + usage + DONE)
                    return finished
                case Failed(error):
                    await self._write(sse_error(error) + DONE)
                    return error
            event = await self._listener.next()

    async def _wait_for_text(self) -> Event:
        """Says what is waited for, when it changes and each second; the first event that is more than that."""
        phase, told, told_at = Phase.QUEUED, b"", 0.0
        while True:
            comment = sse_phase(phase, max(1, self._engine.place(self._job)))  # 0: it is taken, and about to start
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
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


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
