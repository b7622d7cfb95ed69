"""A session with those who listen to it: a face, a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import anyio

from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.events import Stage, Trouble
from omnilmm_lite.live.session import LiveSession


class Listener(Protocol):
    async def listen(self, session: LiveSession, events: Subscription) -> None:
        """Takes `events` until they end. May ask, interrupt and close the session, and tell it of its own troubles
        (`LiveSession.trouble`); what it raises ends the session."""
        ...


class SourceFailure:
    """Remembers why the source broke; `message` is None where it didn't."""

    def __init__(self) -> None:
        self.message: str | None = None

    async def listen(self, session: LiveSession, events: Subscription) -> None:
        """See `Listener`."""
        async for event in events:
            if isinstance(event, Trouble) and event.stage is Stage.CAPTURE:
                self.message = event.message


async def run_with(session: LiveSession, listeners: Sequence[Listener]) -> None:
    """Runs the session, each listener with events of its own, from the first on; returns when all have ended."""

    async def listen(listener: Listener, events: Subscription) -> None:
        with events:
            await listener.listen(session, events)

    async with anyio.create_task_group() as group:
        for listener in listeners:
            group.start_soon(listen, listener, session.subscribe())
        await session.run()
