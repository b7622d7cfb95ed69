"""What stands before every route, who may ask, and behind it: the log. Nothing gets past it but an answer."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnilmm_lite.serve.access import Access
from omnilmm_lite.serve.errors import ApiError, ClientLeft, internal_error, shutting_down
from omnilmm_lite.serve.log import log_event
from omnilmm_lite.serve.request.body import RequestBody

LOG = logging.getLogger(__name__)
LEFT = 499  # in the log alone: the client went away before the answer
# asked all the time, and of no interest in the log
SILENT = re.compile("/|/health|/metrics|/live|/page/.*|/v1/live/[^/]*/(frame|sound)")
# Of a request's scope: what the log says of its answer, and how its API says errors, where not as OpenAI's does.
ANSWER, ERROR_BODY = "answer", "error_body"
STATUS = "status"  # what it was answered with in the end, LEFT among them
OLLAMA = "/api/"  # the paths of its API
SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Before every route: access and its headers; after it: the log."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(OLLAMA):
            scope[ERROR_BODY] = ApiError.short_body
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
            await _response(error, scope)(scope, receive, send_with_headers)
        except (ClientLeft, ClientDisconnect):
            status = LEFT
        except asyncio.CancelledError:  # the server ends; uvicorn would call it a failure of ours
            if not status:
                await _response(shutting_down(), scope)(scope, receive, send_with_headers)
        except Exception:
            LOG.exception("request failed")
            if not status:
                await _response(internal_error(), scope)(scope, receive, send_with_headers)
        finally:
            scope[STATUS] = status
            if status >= 400 or not SILENT.fullmatch(scope["path"]):
                seconds = round(time.perf_counter() - started, 4)
                client = (scope.get("client") or ("",))[0]
                log_event("request", method=scope["method"], path=scope["path"][:200], status=status, client=client,
                          seconds=seconds, **scope.get(ANSWER, {}))  # fmt: skip

    def _headers(self, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        found = dict(SECURITY)
        origin = headers.get("origin")
        if origin is not None and self._access.is_own_origin(origin, headers.get("host", "")):
            found |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in found.items()]


def exception_handlers() -> dict[Any, Any]:
    """For starlette, which says errors in plain text otherwise, and raises those that it doesn't know again, for
    `Guard` to log."""
    return {ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected_error}


def _preflight(headers: dict[str, str]) -> Response:
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=allowed)


def _response(error: ApiError, scope: Scope) -> Response:
    body: Callable[[ApiError], dict[str, Any]] = scope.get(ERROR_BODY, ApiError.body)
    return JSONResponse(body(error), error.status, headers=dict(error.headers))


async def _api_error(request: Request, error: ApiError) -> Response:
    return _response(error, request.scope)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    return _response(internal_error(), request.scope)


async def _http_error(request: Request, error: HTTPException) -> Response:
    """What starlette itself refuses: paths and methods that aren't there."""
    messages = {
        404: "there is no such path; the APIs' are below /v1 and /api",
        405: "this path doesn't take that method",
    }
    message = messages.get(error.status_code, error.detail)
    return _response(ApiError(error.status_code, message, headers=error.headers or {}), request.scope)
