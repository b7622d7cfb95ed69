"""A route that answers questions: the body, its check, the queue, and the answer in the form of its API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from omnilmm_lite.serve.answering.desk import Desk, whole_body
from omnilmm_lite.serve.answering.form import AnswerForm, timings, warned
from omnilmm_lite.serve.answering.stream import AnswerStream, Listener, submitted, while_connected, whole_answer
from omnilmm_lite.serve.connection import STILL_HERE
from omnilmm_lite.serve.errors import ApiError, shutting_down
from omnilmm_lite.serve.guard import ANSWER
from omnilmm_lite.serve.jobs import Task
from omnilmm_lite.serve.request.answer_request import AnswerRequest, Reader
from omnilmm_lite.serve.request.fields import parse_object

# A request, and the name that the answer says its model has -> the form for its answer.
MakeForm: TypeAlias = Callable[[AnswerRequest, str], AnswerForm]
NO_CACHE = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class AnswerEndpoint:
    """An ASGI app of its own, since it has to hear the client leave."""

    def __init__(self, desk: Desk, read: Reader, form: MakeForm, kinds: tuple[str, ...] = ()) -> None:
        """`kinds`: content types that it takes, JSON's by default."""
        self._desk, self._read, self._form, self._kinds = desk, read, form, kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = self._desk.engine
        engine.check_room()  # before a large body is read in vain
        body = await whole_body(Request(scope, receive), *self._kinds)
        listener = Listener()
        with contextlib.ExitStack() as block:
            with engine.expected():
                checked = asyncio.ensure_future(self._desk.checked(self._check, body))
                request, task = await while_connected(checked, receive)
                client = f"{(scope.get('client') or ('',))[0]} {request.user}"
                job = block.enter_context(submitted(engine, client, task, listener))
            form = self._form(request, self._desk.checker.name)
            scope[ANSWER] = {"id": form.id, "stream": request.stream, **warned(request)}
            if not request.stream:
                work = asyncio.ensure_future(whole_answer(listener, 1 + len(task.more)))
                choices = await while_connected(work, receive)
                scope[ANSWER] |= timings([choice.finished for choice in choices])
                await JSONResponse(form.whole(choices))(scope, receive, send)
                return
            scope[STILL_HERE] = form.still_here
            kind = (b"content-type", form.content_type.encode())
            await send({"type": "http.response.start", "status": 200, "headers": [kind, *NO_CACHE]})
            stream = AnswerStream(engine, job, listener, send, form)
            try:
                end = await while_connected(asyncio.ensure_future(stream.run()), receive)
            except asyncio.CancelledError:  # the server ends
                end = await stream.break_off(shutting_down())
            scope[ANSWER] |= {"failed": end.message} if isinstance(end, ApiError) else timings(end)

    def _check(self, body: bytes) -> tuple[AnswerRequest, Task]:
        return self._desk.checker.read_object(parse_object(body), self._read)


def refusal(status: int, why: str) -> Callable[[Request], Awaitable[Response]]:
    """What a route answers whose requests can't be had here: always this ApiError."""

    async def refuse(request: Request) -> Response:
        raise ApiError(status, why, code="unsupported_endpoint")

    return refuse
