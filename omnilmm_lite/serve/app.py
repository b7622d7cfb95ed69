"""The routes, and what stands before each of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import mimetypes
import re
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnilmm_lite.engine.interrupt import Interrupt, interruptible
from omnilmm_lite.machine.memory import peak_rss_bytes, rss_bytes
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.serve.access import Access
from omnilmm_lite.serve.answer_stream import (
    AnswerStream,
    ClientLeft,
    Listener,
    submitted,
    while_connected,
    whole_answer,
)
from omnilmm_lite.serve.engine import Engine, Finished, Task
from omnilmm_lite.serve.errors import ApiError, internal_error, shutting_down
from omnilmm_lite.serve.events import Completion, timings
from omnilmm_lite.serve.log import log_event
from omnilmm_lite.serve.request.body import RequestBody
from omnilmm_lite.serve.request.chat_request import ChatRequest
from omnilmm_lite.serve.request_checker import RequestChecker

LOG = logging.getLogger(__name__)
PAGE = Path(__file__).parent / "page"
MAX_BODY_BYTES = 32 * 2**20
BODY_S = 60.0  # for a request to arrive
FETCHED_AT_ONCE = 4
LEFT = 499  # in the log alone: the client went away before the answer
SILENT = re.compile("/|/health|/page/.*")  # asked all the time, and of no interest in the log
EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no")]  # fmt: skip
# By which browsers go, as they are told "nosniff"; Windows' registry, where Python looks, may have others for them.
PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class Server:
    """What every route needs."""

    engine: Engine
    checker: RequestChecker
    access: Access
    started_at: int = dataclasses.field(default_factory=lambda: int(time.time()))
    _checking: Executor = dataclasses.field(default_factory=lambda: ThreadPoolExecutor(1, "check"))
    # One thread, as there is one process that decodes pictures, and a decoded one may fill a quarter of a gigabyte.
    _decoding: Executor = dataclasses.field(default_factory=lambda: ThreadPoolExecutor(1, "decode"))
    _fetching: Executor = dataclasses.field(default_factory=lambda: ThreadPoolExecutor(FETCHED_AT_ONCE, "fetch"))

    def app(self) -> ASGIApp:
        routes: list[BaseRoute] = [
            Route("/v1/chat/completions", _Completions(self), methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/health", self.health),
        ]
        if PAGE.is_dir():
            for ending, kind in PAGE_TYPES.items():
                mimetypes.add_type(kind, ending)
            routes += [Route("/", self.page), Mount("/page", StaticFiles(directory=PAGE))]
        handlers: dict[Any, Any] = {ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected_error}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self.access)

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        if request.path_params["name"] != self.checker.name:
            raise ApiError(404, f"there is no such model here, only {self.checker.name!r}", "model", "model_not_found")
        return JSONResponse(self._card())

    async def health(self, request: Request) -> Response:
        model, engine = self.checker.model, self.engine
        return JSONResponse({
            "status": "ok",
            "model": self.checker.name,
            "device": {"device": str(model.device.placement), "reason": model.device.reason},
            "memory": {"rss_bytes": rss_bytes(), "peak_rss_bytes": peak_rss_bytes()},
            "queue": {"running": int(engine.is_running), "waiting": engine.waiting, "limit": engine.limit},
            "context": model.text.decoder.context,
        })  # fmt: skip

    def _card(self) -> dict[str, Any]:
        """The model, with two extensions: its context and its defaults, by the request's names."""
        sampling = dataclasses.asdict(self.checker.model.sampling)
        sampling["max_tokens"] = sampling.pop("max_new_tokens")
        return {
            "id": self.checker.name, "object": "model", "created": self.started_at, "owned_by": "omnilmm-lite",
            "context": self.checker.model.text.decoder.context, "sampling": sampling,
        }  # fmt: skip

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/chat/completions`."""
        self.engine.check_room()  # before a large body is read in vain
        body = await _body(Request(scope, receive))
        listener, completion = Listener(), Completion(self.checker.name)
        with contextlib.ExitStack() as block:
            with self.engine.expected():
                request, task = await while_connected(asyncio.ensure_future(self._checked(body)), receive)
                client = f"{(scope.get('client') or ('',))[0]} {request.user}"
                job = block.enter_context(submitted(self.engine, client, task, listener))
            scope["answer"] = {"id": completion.id, "stream": request.stream}
            if not request.stream:
                work = asyncio.ensure_future(whole_answer(listener, completion))
                data, finished = await while_connected(work, receive)
                scope["answer"] |= timings(finished)
                await JSONResponse(data)(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
            stream = AnswerStream(self.engine, job, listener, send)
            running = stream.run(completion, include_usage=request.include_usage)
            try:
                end = await while_connected(asyncio.ensure_future(running), receive)
            except asyncio.CancelledError:  # the server ends
                end = await stream.break_off(shutting_down())
            scope["answer"] |= timings(end) if isinstance(end, Finished) else {"failed": end.message}

    async def _checked(self, body: bytes) -> tuple[ChatRequest, Task]:
        """ApiError says what is wrong with it. Nobody's check waits for somebody else's picture."""
        checker = self.checker
        run = asyncio.get_running_loop().run_in_executor
        request, task = await run(self._checking, checker.read, body)
        if request.image_url is not None:
            file = await run(self._fetching, checker.picture_file, request.image_url)
            image = await self._prepared(file)
            task = dataclasses.replace(task, image=image)
        return request, task

    async def _prepared(self, file: bytes) -> PreparedImage:
        """Ends with its client: who hangs up doesn't keep the others waiting for a picture that takes long."""
        interrupt = Interrupt()

        def prepare() -> PreparedImage:
            with interruptible(interrupt):
                return self.checker.prepare(file)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoding, prepare)
        finally:
            interrupt.set()


class _Completions:
    """A route that is an ASGI app of its own, since it has to hear the client leave."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._server.answer(scope, receive, send)


class Guard:
    """Before every route: access and its headers; after it: the log. Nothing gets past it but an answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, body = time.perf_counter(), 0, RequestBody(receive)
        receive = body.receive
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        extra = self._headers(headers)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *extra]
            elif not message.get("more_body", False) and not body.is_read:  # a refusal that didn't wait for it
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            self._access.check(scope["method"], scope["path"], headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(headers)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except ApiError as error:
            await _response(error)(scope, receive, send_with_headers)
        except (ClientLeft, ClientDisconnect):
            status = LEFT
        except asyncio.CancelledError:  # the server ends; uvicorn would call it a failure of ours
            if not status:
                await _response(shutting_down())(scope, receive, send_with_headers)
        except Exception:
            LOG.exception("request failed")
            if not status:
                await _response(internal_error())(scope, receive, send_with_headers)
        finally:
            if status >= 400 or not SILENT.fullmatch(scope["path"]):
                seconds = round(time.perf_counter() - started, 4)
                client = (scope.get("client") or ("",))[0]
                log_event("request", method=scope["method"], path=scope["path"][:200], status=status, client=client,
                          seconds=seconds, **scope.get("answer", {}))  # fmt: skip

    def _headers(self, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        found = dict(SECURITY)
        origin = headers.get("origin")
        if origin is not None and self._access.is_own_origin(origin, headers.get("host", "")):
            found |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in found.items()]


def _preflight(headers: dict[str, str]) -> Response:
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=allowed)


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "the body must be JSON; send Content-Type: application/json", code="unsupported_media_type")
    too_large = ApiError(413, f"the request has more than {MAX_BODY_BYTES // 2**20} MiB, the limit; send a smaller "
                              "picture", code="request_too_large", headers={"Connection": "close"})  # fmt: skip
    if int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise ApiError(
            408, f"the request didn't arrive within {BODY_S:.0f} s", headers={"Connection": "close"}
        ) from None
    return bytes(body)


def _response(error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, headers=dict(error.headers))


async def _api_error(request: Request, error: ApiError) -> Response:
    return _response(error)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    """starlette says it in plain text otherwise, and raises the error again, for `Guard` to log."""
    return _response(internal_error())


async def _http_error(request: Request, error: HTTPException) -> Response:
    """What starlette itself refuses: paths and methods that aren't there."""
    messages = {404: "there is no such path; the API's are below /v1", 405: "this path doesn't take that method"}
    message = messages.get(error.status_code, error.detail)
    return _response(ApiError(error.status_code, message, headers=error.headers or {}))
