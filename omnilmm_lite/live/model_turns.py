"""One model, and several who want it: the more urgent interrupts the less urgent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from enum import IntEnum

import anyio
from anyio import from_thread

from omnilmm_lite.engine.interrupt import Interrupt, interruptible
from omnilmm_lite.live.worker import in_worker
from omnilmm_lite.model import Model


class Urgency(IntEnum):
    """What the model is wanted for. A question interrupts all else; a summary goes before the next description."""

    DESCRIPTION = 0
    SUMMARY = 1
    QUESTION = 2


class Turn:
    """The model is its holder's, until the block ends or something more urgent comes."""

    def __init__(self, urgency: Urgency, encodes: str | None) -> None:
        self.urgency = urgency
        self.encodes = encodes  # what is being encoded that somebody else may want, by its pixel hash
        self._interrupt = Interrupt()
        self._is_wanted = False

    async def stream(self, produce: Callable[[], Iterable[str]], on_piece: Callable[[str], None]) -> None:
        """Runs `produce` in a thread and hands its pieces to `on_piece` in the event loop.

        Interrupted where the turn was taken away. Cancelling interrupts it, and waits the milliseconds until it ended.
        """

        def work() -> None:
            with interruptible(self._interrupt):
                for piece in produce():
                    from_thread.run_sync(on_piece, piece)
                    self._interrupt.check()

        await in_worker(work, self._interrupt.set)

    def encoded(self) -> None:
        """From the thread: what this turn encodes is done and remembered; who waits for that has its turn now."""
        from_thread.run_sync(self._give_way_if_wanted)

    def want(self, pixel_hash: str | None) -> None:
        """For the turns: somebody more urgent waits, who will look at the picture of that hash, if at any."""
        self._is_wanted = True
        if self.encodes is None or self.encodes != pixel_hash:
            self._interrupt.set()  # else, as the encoder is at their picture already, that answers sooner

    def _give_way_if_wanted(self) -> None:
        self.encodes = None
        if self._is_wanted:
            self._interrupt.set()


class SharedModel:
    """A model, and the order in which a session's stages use it."""

    def __init__(
        self, model: Model, exclusive: Callable[[], AbstractAsyncContextManager[object]] | None = None
    ) -> None:
        """`exclusive`: entered around each turn by whoever shares the model with others than this session (a server,
        whose queue then waits)."""
        self.model = model
        self._exclusive = exclusive or contextlib.nullcontext
        self._holder: Turn | None = None
        self._waiting: list[tuple[Turn, anyio.Event]] = []  # in the order in which they came

    @contextlib.asynccontextmanager
    async def turn(
        self, urgency: Urgency, *, encodes: str | None = None, looks_at: str | None = None
    ) -> AsyncIterator[Turn]:
        """A block in which nobody else uses the model. Waits for it; whoever has it and is less urgent is interrupted.

        `encodes`: the pixel hash of a picture that this turn encodes, which it says by `Turn.encoded` when it has.
        `looks_at`: the pixel hash of a picture that this turn wants: where the holder is at encoding that very one, it
        is let finish.
        """
        turn = Turn(urgency, encodes)
        await self._take(turn, looks_at)
        try:
            async with self._exclusive():
                yield turn
        finally:
            self._pass_on()

    async def _take(self, turn: Turn, looks_at: str | None) -> None:
        if self._holder is None:
            self._holder = turn
            return
        if self._holder.urgency < turn.urgency:
            self._holder.want(looks_at)
        entry = (turn, anyio.Event())
        self._waiting.append(entry)
        try:
            await entry[1].wait()
        except BaseException:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:  # it had been given the model just now
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """The most urgent is next, of these the one that came first."""
        self._holder = None
        if self._waiting:
            entry = max(self._waiting, key=lambda each: each[0].urgency)
            self._waiting.remove(entry)
            self._holder, event = entry
            event.set()
