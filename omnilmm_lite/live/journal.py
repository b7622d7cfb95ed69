"""What the stages of one session share: its clock, its counts, and telling what happens."""

from __future__ import annotations

import time

import anyio

from omnilmm_lite.live.broadcast import Broadcast, Subscription
from omnilmm_lite.live.events import Event, Recovered, Stage, StatusChanged, Trouble
from omnilmm_lite.live.frames.frame import Frame
from omnilmm_lite.live.meter import Meter

PUBLISH_S = 0.05  # at least between two statuses
QUIET_S = 1.0  # at most: the rate falls while nothing happens


class Journal:
    """Used in the session's event loop alone."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.began = time.monotonic()
        self._broadcast = Broadcast()
        self._troubles: dict[Stage, str] = {}
        self._changed = anyio.Event()
        self._unpublished: Frame | None = None  # the newest that no status counts yet

    def begin(self) -> None:
        """Time 0 is now."""
        self.began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the session began."""
        return self.since(time.monotonic())

    def since(self, moment: float) -> float:
        """The session's second of a `time.monotonic()`."""
        return round(moment - self.began, 4)

    def subscribe(self) -> Subscription:
        return self._broadcast.subscribe()

    def tell(self, event: Event) -> None:
        """To every listener; never waits."""
        self._broadcast.tell(event)
        self.changed()

    def end(self) -> None:
        """A last status, and the listeners' streams end."""
        self._broadcast.tell(StatusChanged(self.now_s, self.meter.status()))
        self._broadcast.end()

    def trouble(self, stage: Stage, message: str) -> None:
        """Said once for one message, until the stage works again."""
        if self._troubles.get(stage) != message:
            self._troubles[stage] = message
            self.tell(Trouble(self.now_s, stage, message))

    def works(self, stage: Stage) -> None:
        """Says that it recovered, where it was in trouble."""
        if self._troubles.pop(stage, None) is not None:
            self.tell(Recovered(self.now_s, stage))

    def captured(self, frame: Frame) -> None:
        """A frame came."""
        self.meter.count_captured()
        self._unpublished = frame
        self.changed()

    def changed(self) -> None:
        """A count is another one."""
        self._changed.set()

    async def publish(self) -> None:
        """Tells the status as it changes, until it is cancelled."""
        while True:
            with anyio.move_on_after(QUIET_S):
                await self._changed.wait()
            self._changed = anyio.Event()
            if self._unpublished is not None:
                self.meter.took(Stage.CAPTURE, time.monotonic() - self._unpublished.captured_s)
                self._unpublished = None
            self._broadcast.tell(StatusChanged(self.now_s, self.meter.status()))
            await anyio.sleep(PUBLISH_S)
