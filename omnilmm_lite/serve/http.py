"""The HTTP server: listens, says so, and ends without leaving anybody in mid-sentence for long."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from omnilmm_lite.errors import InputError
from omnilmm_lite.serve.connection import Connection
from omnilmm_lite.serve.engine import Engine

BACKLOG = 128
KEEP_ALIVE_S = 30
GRACE_S = 5.0  # for the running answer, once somebody at the keyboard asks the server to end
DRAIN_S = 60.0  # for it and all that wait, where the system asks; systemd waits for 90
LAST_WORD_S = 1.0  # for a request that is ended to say so to its client


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; InputError where there can be none. Port 0: the system picks one."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port: {port} is out of range; give 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if socket.has_ipv6 and family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if sys.platform == "win32":  # where SO_REUSEADDR would take the port from a server that runs
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:  # or the port of one that has just ended stays taken for a minute
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except UnicodeError:  # what getaddrinfo says of a name whose labels are empty or too long
        raise InputError(f"--host: {host!r} is no host name; give an address of this machine") from None
    except OSError as error:
        raise InputError(
            f"{host}:{port}: can't listen there ({error.strerror or error}); give another --port"
        ) from None
    return sock


def address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Tells the engine to end with the server, in another thread: this is called in a signal's handler."""

    def __init__(self, config: uvicorn.Config, engine: Engine, end: Callable[[], None]) -> None:
        """`end`: for what else ends with it; a signal that uvicorn passes on may leave no time for anything later."""
        super().__init__(config)
        self._engine, self._end = engine, end
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._end_requests()
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=LAST_WORD_S)
        self._end()

    def _end_requests(self) -> None:
        for task in self.server_state.tasks:
            if not task.cancelling():  # twice would end its last word, too
                task.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        drain = sig == signal.SIGTERM and not self.should_exit  # the second signal is meant as it is
        seconds = DRAIN_S if drain else GRACE_S
        self.config.timeout_graceful_shutdown = int(seconds + GRACE_S)
        if self.should_exit and self._loop is not None:  # uvicorn keeps to the time that it began with
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._end_requests)
        threading.Thread(target=self._engine.close, args=(seconds,), kwargs={"drain": drain}, daemon=True).start()
        super().handle_exit(sig, frame)


def serve(app: ASGIApp, sock: socket.socket, engine: Engine, end: Callable[[], None]) -> None:
    """Answers requests until a signal ends it, and then calls `end`."""
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    try:
        _Server(config, engine, end).run(sockets=[sock])
    finally:
        engine.close(0)
