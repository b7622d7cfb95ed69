"""The model on loan: whoever has it has it alone, gets it in turn, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import math
import queue

import pytest

from omnilmm_lite import load
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.jobs import Event, Failed, Finished, Task
from omnilmm_lite.serve.live.loan import ModelLoan
from omnilmm_lite.serve.model.residence import ModelState

WAIT_S = 30.0


def short() -> Task:
    params = SamplingParams.greedy(max_new_tokens=1)
    return Task(load().encode_chat([{"role": "user", "content": "hi"}], image=False), None, params)


async def ended(events: queue.SimpleQueue[Event]) -> Event:
    while True:
        event = await asyncio.to_thread(events.get, True, WAIT_S)
        if isinstance(event, (Finished, Failed)):
            return event


def test_requests_wait_while_it_is_lent_and_run_after() -> None:
    engine, task = Engine(load(), limit=4), short()

    async def main() -> None:
        heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        async with ModelLoan(engine, "tab").turn() as model:
            assert model.name == "tiny"
            engine.submit("other", task, heard.put)
            await asyncio.sleep(0.1)
            assert (engine.waiting, heard.empty()) == (1, True)
        assert isinstance(await ended(heard), Finished)

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
    engine.close(0)


def test_who_stops_waiting_for_it_is_out_of_the_queue() -> None:
    engine = Engine(load(), limit=4)

    async def main() -> None:
        first, second = ModelLoan(engine, "a"), ModelLoan(engine, "b")
        async with first.turn():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), second.turn():
                    raise AssertionError("two have it")
            assert engine.waiting == 0
        async with second.turn():
            pass

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
    engine.close(0)


def test_a_full_queue_and_the_servers_end_are_said_in_one_line() -> None:
    engine, task = Engine(load(), limit=1), short()

    async def main() -> None:
        async with ModelLoan(engine, "a").turn():
            engine.submit("other", task, lambda event: None)
            with pytest.raises(OmniLMMError, match="1 requests wait already"):
                async with ModelLoan(engine, "b").turn():
                    pass
        closing = asyncio.create_task(asyncio.to_thread(engine.close, 0))
        await closing
        with pytest.raises(OmniLMMError, match="shutting down"):
            async with ModelLoan(engine, "b").turn():
                pass

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


def test_lent_turns_are_no_answers_for_the_metrics() -> None:
    observed: list[Event] = []
    engine = Engine(load(), limit=4, observe=observed.append)

    async def main() -> None:
        async with ModelLoan(engine, "a").turn():
            pass

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
    engine.close(WAIT_S)
    assert observed == []


def test_a_held_model_stays_and_is_let_go_of_after() -> None:
    engine = Engine(load(), limit=4, reload=load, idle_s=0.05)

    async def main() -> None:
        with engine.held():
            async with ModelLoan(engine, "a").turn():  # loaded anew, had it been let go of meanwhile
                pass
            await asyncio.sleep(0.3)
            assert (engine.residence.state, engine.kept_s) == (ModelState.LOADED, math.inf)
        while engine.residence.state is not ModelState.UNLOADED:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
    engine.close(0)
