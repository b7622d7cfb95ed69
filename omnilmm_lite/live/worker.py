"""Work that blocks, in a thread, so that cancelling ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")


async def in_worker(work: Callable[[], T], stop: Callable[[], object]) -> T:
    """What `work` returns or raises. Where the task is cancelled meanwhile, `stop` is called, in the event loop, and
    must make `work` end soon: it is waited for, so that no thread is left at work."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # raised below: a task group would wrap it
            failure.append(error)

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            if not outcome and not failure:
                stop()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.sleep(0)  # so that the watch is there to be cancelled
        await to_thread.run_sync(run)
        group.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return outcome[0]
