"""Events for any number of listeners, none of which can hold up the session or fill the memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from types import TracebackType
from typing import Self

import anyio

from omnilmm_lite.live.events import AnswerPiece, Event, FrameDescribed, StatusChanged

MOST_PICTURES = 4  # whole frames that wait for one listener: megabytes each
MOST_FRAMES = 256  # descriptions with their thumbnails that do


class Subscription:
    """A listener's stream: `with session.subscribe() as events: async for event in events: ...`.

    For a listener that is slow, only the newest StatusChanged waits; of frames, those before the last 4 lose their
    `picture`, and those before the last 256 are lost; an answer's pieces are joined. Nothing else is lost. The stream
    ends with the session, or with the block.
    """

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast
        self._waiting: deque[Event] = deque()
        self._came = anyio.Event()
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is put in."""
        self._broadcast.remove(self)
        self._waiting.clear()
        self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._has_ended:
                raise StopAsyncIteration
            self._came = anyio.Event()
            await self._came.wait()
        return self._waiting.popleft()

    def put(self, event: Event) -> None:
        """For the broadcast."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(event, StatusChanged):
            with contextlib.suppress(StopIteration):
                self._waiting.remove(next(each for each in self._waiting if isinstance(each, StatusChanged)))
        elif isinstance(event, AnswerPiece) and isinstance(last, AnswerPiece) and last.question_id == event.question_id:
            self._waiting[-1] = dataclasses.replace(last, text=last.text + event.text)
            return
        self._waiting.append(event)
        if isinstance(event, FrameDescribed):
            self._bound_frames()
        self._came.set()

    def end(self) -> None:
        """For the broadcast: what waits is still given."""
        self._has_ended = True
        self._came.set()

    def _bound_frames(self) -> None:
        frames = [each for each in self._waiting if isinstance(each, FrameDescribed)]
        if len(frames) > MOST_FRAMES:
            self._waiting.remove(frames[0])
        if len(frames) > MOST_PICTURES and (old := frames[-MOST_PICTURES - 1]).picture is not None:
            self._waiting[self._waiting.index(old)] = dataclasses.replace(old, picture=None)


class Broadcast:
    """Of one session; used in its event loop alone."""

    def __init__(self) -> None:
        self._listeners: list[Subscription] = []
        self._has_ended = False

    def subscribe(self) -> Subscription:
        """A stream of what is told from now on."""
        subscription = Subscription(self)
        if self._has_ended:
            subscription.end()
        else:
            self._listeners.append(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """For a subscription that is closed."""
        with contextlib.suppress(ValueError):
            self._listeners.remove(subscription)

    def tell(self, event: Event) -> None:
        """Gives the event to every listener; never waits."""
        for listener in self._listeners:
            listener.put(event)

    def end(self) -> None:
        """There will be no more events."""
        self._has_ended = True
        for listener in self._listeners:
            listener.end()
        self._listeners.clear()
