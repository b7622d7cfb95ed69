"""A request's body as it comes: what of it is still to be read."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive

LINGER_S = 5.0  # for the rest of a request that was answered already
MAX_DISCARDED_BYTES = 64 * 2**20


class RequestBody:
    """Takes the place of an app's `receive`."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read |= not message.get("more_body", False)  # to its end, or its client has gone
        return message

    @property
    def is_read(self) -> bool:
        return self._is_read

    async def discard(self) -> None:
        """Takes the rest of it, within bounds: a connection that is closed while more comes is reset, and what was sent
        over it, the answer, is lost."""
        discarded = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._is_read and discarded < MAX_DISCARDED_BYTES:
                    discarded += len((await self.receive()).get("body", b""))
