"""The session line by line, for pipes and files: the timeline on stdout, the last status on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import anyio
from anyio import to_thread

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.events import StatusChanged
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.live.stages.answering import MOST_WAITING
from omnilmm_lite.live.terminal.lines import status_line, timeline_line

CHUNK = 4096
LONGEST_LINE = 1 << 16  # bytes
FULL_S = 0.05  # between looks whether a question fits


class PlainFace:
    """`stdin`: the file descriptor that questions are read from, one a line; None for none."""

    def __init__(self, stdin: int | None) -> None:
        self._stdin = stdin

    async def listen(self, session: LiveSession, events: Subscription) -> None:
        """See `Listener`."""
        last: StatusChanged | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._ask, session)
            async for event in events:
                if isinstance(event, StatusChanged):
                    last = event
                elif (line := timeline_line(event)) is not None:
                    print(line, flush=True)
            group.cancel_scope.cancel()
        if last is not None:
            print(status_line(last.status), file=sys.stderr, flush=True)

    async def _ask(self, session: LiveSession) -> None:
        async for line in self._lines():
            while session.status.waiting_questions >= MOST_WAITING:
                await anyio.sleep(FULL_S)
            try:
                session.ask(line)
            except InputError as error:
                if line.strip():
                    print(str(error), file=sys.stderr, flush=True)

    async def _lines(self) -> AsyncIterator[str]:
        """By the descriptor: a thread that waits in `sys.stdin` would hold its lock at the program's end."""
        rest = b""
        while self._stdin is not None:
            chunk = await to_thread.run_sync(os.read, self._stdin, CHUNK, abandon_on_cancel=True)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
            rest = rest[:LONGEST_LINE]
        if rest:
            yield rest.decode("utf-8", "replace")
