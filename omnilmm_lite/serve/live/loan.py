"""The model for a live session: its turns are tasks in the engine's queue, between everybody else's requests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Event, Failed, Task

if TYPE_CHECKING:
    from omnilmm_lite.model import Model


class ModelLoan:
    """For one session, which is one client of the queue."""

    def __init__(self, engine: Engine, client: str) -> None:
        self._engine, self._client = engine, client

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Model]:
        """A block in which nobody else uses the model, loaded anew where it had been let go of. Waits for it.

        OmniLMMError where the queue is full, the model can't be loaded, or the server ends.
        """
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[Model] = loop.create_future()
        returned = threading.Event()

        def take(model: Model) -> None:
            if not begun.done():
                begun.set_result(model)

        def refuse(error: ApiError) -> None:
            if not begun.done():
                begun.set_exception(OmniLMMError(error.message))

        def lend(model: Model) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to take it
                loop.call_soon_threadsafe(take, model)
                returned.wait()

        def listen(event: Event) -> None:
            if isinstance(event, Failed):
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(refuse, event.error)

        try:
            job = self._engine.submit(self._client, Task([], None, SamplingParams(), lend=lend), listen)
        except ApiError as error:
            raise OmniLMMError(error.message) from None
        try:
            yield await begun
        finally:
            returned.set()
            self._engine.cancel(job)
