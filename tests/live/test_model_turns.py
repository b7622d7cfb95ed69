"""Who has the model, and who is interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest

from omnilmm_lite.engine.interrupt import Interrupted, check_interrupt
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.model_turns import SharedModel, Urgency
from omnilmm_lite.live.worker import in_worker
from tests.live.sessions import LONGEST_S, tiny, until


def endless() -> Iterator[str]:
    """A word, and then work until it is interrupted."""
    yield "word"
    while True:
        check_interrupt()


async def hold(shared: SharedModel, urgency: Urgency, told: list[str], **wants: str) -> None:
    try:
        async with shared.turn(urgency, **wants) as turn:
            told.append(f"{urgency.name} has it")
            await turn.stream(endless if urgency is not Urgency.QUESTION else lambda: ["a", "b"], told.append)
    except Interrupted:
        told.append(f"{urgency.name} gave way")


@pytest.mark.parametrize("holder", [Urgency.DESCRIPTION, Urgency.SUMMARY])
def test_a_question_interrupts_what_is_less_urgent(holder: Urgency) -> None:
    told: list[str] = []

    async def main() -> None:
        shared = SharedModel(tiny())
        async with anyio.create_task_group() as group:
            group.start_soon(hold, shared, holder, told)
            await until(lambda: "word" in told)
            group.start_soon(hold, shared, Urgency.QUESTION, told)

    anyio.run(main)
    assert told == [f"{holder.name} has it", "word", f"{holder.name} gave way", "QUESTION has it", "a", "b"]


def test_the_most_urgent_is_next_and_of_equals_the_first() -> None:
    order: list[str] = []

    async def take(shared: SharedModel, urgency: Urgency, name: str) -> None:
        async with shared.turn(urgency):
            order.append(name)

    async def main() -> None:
        shared = SharedModel(tiny())
        async with anyio.create_task_group() as group, shared.turn(Urgency.QUESTION):
            for urgency, name in (
                (Urgency.DESCRIPTION, "description"), (Urgency.QUESTION, "first"),
                (Urgency.SUMMARY, "summary"), (Urgency.QUESTION, "second"),
            ):  # fmt: skip
                group.start_soon(take, shared, urgency, name)
                await anyio.sleep(0.005)

    anyio.run(main)
    assert order == ["first", "second", "summary", "description"]


def test_one_that_stops_waiting_is_forgotten() -> None:
    async def main() -> None:
        shared = SharedModel(tiny())
        async with shared.turn(Urgency.QUESTION):
            with anyio.move_on_after(0.01):
                async with shared.turn(Urgency.QUESTION):
                    raise AssertionError("it was somebody's")
        async with shared.turn(Urgency.DESCRIPTION):
            pass

    anyio.run(main)


def test_one_that_stops_waiting_as_it_gets_the_model_passes_it_on() -> None:
    async def main() -> None:
        shared = SharedModel(tiny())

        async def wait() -> None:
            async with shared.turn(Urgency.QUESTION):
                raise AssertionError("it was cancelled")

        async with shared.turn(Urgency.QUESTION):
            task = asyncio.create_task(wait())
            await anyio.sleep(0.01)
        task.cancel()  # before it could run again
        with pytest.raises(asyncio.CancelledError):
            await task
        with anyio.fail_after(LONGEST_S):
            async with shared.turn(Urgency.DESCRIPTION):
                pass

    anyio.run(main)


def test_who_shares_the_model_with_others_keeps_them_away() -> None:
    order: list[str] = []

    @asynccontextmanager
    async def exclusive() -> AsyncIterator[None]:
        order.append("closed")
        yield
        order.append("open")

    async def main() -> None:
        shared = SharedModel(tiny(), exclusive)
        async with shared.turn(Urgency.DESCRIPTION):
            order.append("turn")

    anyio.run(main)
    assert order == ["closed", "turn", "open"]


def test_what_a_turn_raises_frees_the_model() -> None:
    def broken() -> Iterator[str]:
        yield "word"
        raise OmniLMMError("no memory")

    async def main() -> None:
        shared = SharedModel(tiny())
        with pytest.raises(OmniLMMError, match="no memory"):
            async with shared.turn(Urgency.DESCRIPTION) as turn:
                await turn.stream(broken, lambda _: None)
        async with shared.turn(Urgency.DESCRIPTION):
            pass

    anyio.run(main)


def test_a_worker_that_is_cancelled_is_stopped_and_waited_for() -> None:
    stop, ended = threading.Event(), threading.Event()

    def work() -> None:
        stop.wait(20)
        ended.set()

    async def main() -> None:
        with anyio.move_on_after(0.05):
            await in_worker(work, stop.set)
        assert stop.is_set()
        assert ended.is_set()

    anyio.run(main)


def test_a_worker_gives_what_its_work_does() -> None:
    def fail() -> None:
        raise OmniLMMError("no")

    async def main() -> None:
        assert await in_worker(lambda: 3, fail) == 3
        with pytest.raises(OmniLMMError, match="no"):
            await in_worker(fail, lambda: None)

    anyio.run(main)
