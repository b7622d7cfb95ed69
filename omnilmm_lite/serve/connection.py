"""One client's connection: how long it may take, how many there may be, and when its client has really left."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from omnilmm_lite.serve.errors import RATE_LIMIT, SERVER_ERROR, ApiError, invalid

HEADERS_S = 15.0  # for a request's line and headers to arrive
LINGER_S = 2.0  # for what a client that was refused has sent, or sends yet
STALLED_S = 30.0  # for a client that takes nothing of what it is sent
MOST_CONNECTIONS = 256
MOST_CONNECTIONS_A_CLIENT = 64  # browsers take six; a proxy in front asks for many
PROBES_S = (0.0, 0.05)  # after the client said that it sends no more; then one each second
PROBE_EVERY_S = 1.0
TOO_MANY, LATER = "too_many_connections", {"Retry-After": "5"}
NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # the system's struct linger
# Of a request's scope, where its answer is a stream: bytes between two pieces of it that mean nothing.
STILL_HERE = "still_here"


class _Timer(Enum):
    HEADERS = auto()
    STALLED = auto()
    PROBE = auto()
    LINGER = auto()


class Connection(H11Protocol):
    """uvicorn's, which keeps a client without bounds, and refuses what isn't HTTP in plain text.

    A client may say that it sends no more and wait for the answer, as `nc -N` and some libraries do. One that has gone
    says the same; what is sent to it then comes back, so something is sent.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timers: dict[_Timer, asyncio.TimerHandle] = {}

    # ---- what asyncio tells ----

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if refusal := self._refusal():
            self._refuse(refusal)
            return
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        if _Timer.LINGER in self._timers:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop(_Timer.HEADERS)
        elif (
            _Timer.HEADERS not in self._timers and not self.transport.is_closing()
        ):  # the next request of the same client
            self._await_headers()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open for an answer."""
        cycle = self.cycle
        waits = cycle is not None and not cycle.response_complete and not cycle.more_body
        if not waits or cycle.scope["http_version"] == "1.0":  # which knows no word in between
            return False
        cycle.keep_alive = False
        self._send_probe(0)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in _Timer:
            self._stop(timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start(_Timer.STALLED, STALLED_S, self._reset)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(_Timer.STALLED)

    # ---- bounds ----

    def _await_headers(self) -> None:
        self._start(_Timer.HEADERS, HEADERS_S, self._headers_late)

    def _reset(self) -> None:
        """Not close(), which waits until the last byte is taken; nor may the system keep megabytes for the client."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    def _headers_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(ApiError(408, f"the request's headers didn't arrive within {HEADERS_S:.0f} s"))

    def _refusal(self) -> ApiError | None:
        host = self.client[0] if self.client else None
        others = [other.client for other in self.connections if isinstance(other, Connection)]
        if len(others) > MOST_CONNECTIONS:
            message = f"{MOST_CONNECTIONS} connections are open, the limit; try again later"
            return ApiError(503, message, code=TOO_MANY, type=SERVER_ERROR, headers=LATER)
        if sum(other is not None and other[0] == host for other in others) > MOST_CONNECTIONS_A_CLIENT:
            message = f"{MOST_CONNECTIONS_A_CLIENT} connections of this address are open, the limit; close some"
            return ApiError(429, message, code=TOO_MANY, type=RATE_LIMIT, headers=LATER)
        return None

    # ---- a client that sends no more ----

    def _send_probe(self, number: int) -> None:
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        if not self.cycle.response_started:
            self.transport.write(self.conn.send(h11.InformationalResponse(status_code=102, headers=[])) or b"")
        elif still_here := cast(dict[str, Any], self.cycle.scope).get(STILL_HERE):
            self.transport.write(self.conn.send(h11.Data(data=still_here)) or b"")
        delay = PROBES_S[number + 1] if number + 1 < len(PROBES_S) else PROBE_EVERY_S
        self._start(_Timer.PROBE, delay, self._send_probe, number + 1)

    # ---- refusals ----

    def send_400_response(self, msg: str) -> None:
        self._refuse(invalid(msg, code="invalid_http"))

    def _refuse(self, error: ApiError) -> None:
        """Answers without a request, or in place of one that isn't whole, and closes.

        Not before the client has: what it sends to a closed connection resets it, and the answer is lost.
        """
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        body = json.dumps(error.body()).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        response = h11.Response(status_code=error.status, headers=list((headers | dict(error.headers)).items()))
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        if len(self.connections) > 2 * MOST_CONNECTIONS:
            self.transport.close()
            return
        self.transport.write_eof()
        self._start(_Timer.LINGER, LINGER_S, self.transport.close)

    # ---- timers ----

    def _start(self, timer: _Timer, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self._stop(timer)
        self._timers[timer] = self.loop.call_later(seconds, action, *args)

    def _stop(self, timer: _Timer) -> None:
        if handle := self._timers.pop(timer, None):
            handle.cancel()
