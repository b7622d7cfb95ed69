"""The model that is let go of while nobody asks: that it is gone, that nobody notices, and what may go wrong."""

from __future__ import annotations

import dataclasses
import gc
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from omnilmm_lite import load
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.jobs import Event, Failed, Finished, RequestPhase, Started, Task, TextDelta
from omnilmm_lite.serve.model.residence import ModelState, Residence

WAIT_S = 30.0
SHORT_S = 0.05
NOTHING = Task([], None, SamplingParams(), keep_s=0)  # lets go of the model


class Reloading:
    """Loads the model again, and remembers weakly what it loaded."""

    def __init__(self) -> None:
        self.loaded: list[weakref.ref[Model]] = []
        self.fail: Exception | None = None
        self.change: Callable[[Model], None] = lambda model: None

    def __call__(self) -> Model:
        if self.fail is not None:
            raise self.fail
        model = load()
        self.change(model)
        self.loaded.append(weakref.ref(model))
        return model


@pytest.fixture
def reloading() -> Reloading:
    return Reloading()


@pytest.fixture
def engine(reloading: Reloading) -> Iterator[Engine]:
    engine = Engine(reloading(), 4, reload=reloading, idle_s=SHORT_S)
    yield engine
    engine.close(0)


@pytest.fixture(scope="module")
def task() -> Task:
    ids = load().encode_chat([{"role": "user", "content": "What can you do?"}], image=False)
    return Task(ids, None, SamplingParams.greedy(max_new_tokens=8))


def asked(engine: Engine, task: Task) -> tuple[str, list[RequestPhase], Event]:
    """The text, what was waited for, and how it ended."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    engine.submit("me", task, events.put)
    text, phases = "", list[RequestPhase]()
    while not isinstance(event := events.get(timeout=WAIT_S), (Finished, Failed)):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Started):
            phases.append(event.phase)
    return text, phases, event


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def unloaded(engine: Engine) -> None:
    until(lambda: engine.residence.state is ModelState.UNLOADED)


def test_a_model_that_nobody_asks_is_gone_and_comes_back(engine: Engine, reloading: Reloading, task: Task) -> None:
    before, _, _ = asked(engine, dataclasses.replace(task, keep_s=math.inf))
    assert engine.residence.state is ModelState.LOADED
    asked(engine, dataclasses.replace(NOTHING, keep_s=SHORT_S))
    unloaded(engine)
    until(lambda: gc.collect() >= 0 and reloading.loaded[0]() is None)  # nothing holds it, so its memory is free
    text, phases, ended = asked(engine, task)
    assert isinstance(ended, Finished) and ended.load_s > 0 and text == before
    assert phases[0] is RequestPhase.LOAD
    _, phases, ended = asked(engine, dataclasses.replace(task, keep_s=math.inf))
    unloaded_again = RequestPhase.LOAD in phases  # by a machine that stood still
    assert isinstance(ended, Finished) and (ended.load_s > 0) == unloaded_again


def test_a_request_while_the_model_is_let_go_of_is_answered(
    engine: Engine, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, unload = threading.Event(), threading.Event(), Residence.unload

    def slow(self: Residence) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)
        unload(self)

    asked(engine, dataclasses.replace(task, keep_s=math.inf))  # until all is in its place
    monkeypatch.setattr(Residence, "unload", slow)
    asked(engine, NOTHING)
    assert begun.wait(WAIT_S)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    asking = threading.Thread(target=engine.submit, args=("me", dataclasses.replace(task, keep_s=math.inf), events.put))
    asking.start()
    asking.join(WAIT_S)
    assert not asking.is_alive() and engine.waiting == 1  # who asks isn't kept waiting for that
    go_on.set()
    while not isinstance(event := events.get(timeout=WAIT_S), (Finished, Failed)):
        pass
    assert isinstance(event, Finished) and event.load_s > 0


def test_a_client_may_keep_it_longer_or_let_go_of_it(engine: Engine, task: Task) -> None:
    asked(engine, dataclasses.replace(task, keep_s=math.inf))
    time.sleep(4 * SHORT_S)
    assert engine.residence.state is ModelState.LOADED and engine.kept_s == math.inf
    assert asked(engine, NOTHING)[1] == []
    unloaded(engine)
    assert asked(engine, NOTHING)[1] == []  # not loaded to be let go of
    _, phases, ended = asked(engine, dataclasses.replace(NOTHING, keep_s=math.inf))
    assert phases == [RequestPhase.LOAD] and isinstance(ended, Finished) and ended.timings.new_tokens == 0
    assert engine.residence.state is ModelState.LOADED


def test_who_lets_go_of_it_beside_a_running_answer_is_not_forgotten(reloading: Reloading, task: Task) -> None:
    engine = Engine(load(parallel=2), 4, reload=reloading)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    long = dataclasses.replace(task, more=(task,) * 10_000)
    running = engine.submit("another", long, events.put)
    while not isinstance(events.get(timeout=WAIT_S), TextDelta):
        pass
    assert asked(engine, NOTHING)[1] == []
    assert engine.running == 1 and engine.residence.state is ModelState.LOADED
    engine.cancel(running)
    unloaded(engine)
    engine.close(0)


def test_a_model_that_cannot_be_loaded_again_is_the_servers_failure(
    engine: Engine, reloading: Reloading, task: Task
) -> None:
    unloaded(engine)
    reloading.fail = InputError("there is no such bundle")
    _, _, ended = asked(engine, task)
    assert isinstance(ended, Failed) and ended.error.status == 500
    assert ended.error.message == "the model can't be loaded again: there is no such bundle"
    assert engine.residence.state is ModelState.UNLOADED
    reloading.fail = None
    assert isinstance(asked(engine, task)[2], Finished)


def test_another_model_in_its_place_is_not_taken_for_it(engine: Engine, reloading: Reloading, task: Task) -> None:
    def other(model: Model) -> None:
        model.parts = dataclasses.replace(model.parts, identity="another")

    unloaded(engine)
    reloading.change = other
    _, _, ended = asked(engine, task)
    assert isinstance(ended, Failed) and "its files have changed since the server started" in ended.error.message


def test_without_a_way_to_load_it_again_it_stays(task: Task) -> None:
    engine = Engine(load(), 4, idle_s=0)
    time.sleep(SHORT_S)
    assert engine.residence.state is ModelState.LOADED
    assert asked(engine, task)[1] == [RequestPhase.PREFILL]
    engine.close(0)


def test_the_end_does_not_wait_for_the_idle_time(reloading: Reloading) -> None:
    engine = Engine(reloading(), 4, reload=reloading, idle_s=3600)
    engine.close(WAIT_S)
    assert not engine._thread.is_alive()
