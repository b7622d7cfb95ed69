"""The engine without HTTP: cancelling at each point, and the end, with a real model."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from omnilmm_lite import load
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.errors import ApiError, shutting_down
from omnilmm_lite.serve.jobs import Event, Failed, Finished, QueuedTask, RequestPhase, Started, Task, TextDelta
from tests.serve.serving import PICTURES

WAIT_S = 30.0  # for what hangs; a busy machine is no failure


class Heard:
    """A job and what it said."""

    def __init__(self, engine: Engine, task: Task, client: str = "me") -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.job: QueuedTask = engine.submit(client, task, self.events.put)

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        while not wanted(event := self.events.get(timeout=WAIT_S)):
            assert not isinstance(event, Failed), event
        return event

    def end(self) -> Event:
        return self.until(lambda event: isinstance(event, (Finished, Failed)))


@pytest.fixture
def engine() -> Engine:
    return Engine(load(), limit=4)


@pytest.fixture(scope="module")
def endless() -> Task:
    """Nonsense, until the context is full."""
    params = SamplingParams(temperature=5.0, top_k=0, top_p=1.0, max_new_tokens=2000, seed=1)
    return Task(load().encode_chat([{"role": "user", "content": "hi"}], image=False), None, params, ())


def test_a_waiting_job_that_is_cancelled_never_starts(engine: Engine, endless: Task) -> None:
    first, second = Heard(engine, endless), Heard(engine, endless)
    first.until(lambda event: isinstance(event, TextDelta))
    assert engine.place(second.job) == 1
    engine.cancel(second.job)
    assert engine.place(second.job) == 0 and engine.waiting == 0
    engine.cancel(first.job)
    assert isinstance(first.until(lambda event: not isinstance(event, (Started, TextDelta))), Failed)
    assert second.events.empty()
    engine.close(0)


def test_a_running_job_that_is_cancelled_leaves_the_model_as_good_as_new(engine: Engine, endless: Task) -> None:
    model = load()
    question = [{"role": "user", "content": "What is this?"}]
    prepared = model.vision.prepare(load_image(PICTURES / "cat.png"))
    asked = Task(model.encode_chat(question, image=True), prepared, SamplingParams.greedy(), ())
    expected = model.chat(image=PICTURES / "cat.png").ask("What is this?", greedy=True, repetition_penalty=1.0)
    for phase in (RequestPhase.ENCODE, RequestPhase.PREFILL, None):
        running = Heard(engine, asked if phase else endless)
        reached = Started(phase) if phase else TextDelta
        running.until(lambda event, reached=reached: event == reached or type(event) is reached)  # type: ignore[misc]
        engine.cancel(running.job)
        while not isinstance(running.events.get(timeout=WAIT_S), (Failed, Finished)):
            pass
    after = Heard(engine, asked)
    text, event = "", after.until(lambda event: not isinstance(event, Started))
    while isinstance(event, TextDelta):
        text, event = text + event.text, after.until(lambda event: True)
    assert text == expected
    engine.close(0)


def test_the_end_turns_away_who_waits_and_ends_who_runs(engine: Engine, endless: Task) -> None:
    running, waiting = Heard(engine, endless), Heard(engine, endless)
    running.until(lambda event: isinstance(event, TextDelta))
    started = time.monotonic()
    engine.close(grace_s=0.0)
    assert time.monotonic() - started < WAIT_S
    for heard in (running, waiting):
        while not isinstance(event := heard.events.get(timeout=WAIT_S), Failed):
            pass
        assert event.error.status == 503
    with pytest.raises(ApiError) as raised:
        engine.submit("me", endless, lambda event: None)
    assert raised.value.status == 503
    engine.close(0)  # a second time is as good as once


def test_a_drain_answers_all_that_wait(engine: Engine) -> None:
    params = dataclasses.replace(SamplingParams.greedy(), max_new_tokens=4)
    task = Task(load().encode_chat([{"role": "user", "content": "hi"}], image=False), None, params, ())
    asked = [Heard(engine, task) for _ in range(5)]
    engine.close(WAIT_S, drain=True)
    for heard in asked:
        while not isinstance(event := heard.events.get(timeout=WAIT_S), (Finished, Failed)):
            pass
        assert isinstance(event, Finished)
    with pytest.raises(ApiError, match="shutting down"):
        engine.check_room()


def ended(heard: Heard) -> Finished | Failed:
    while not isinstance(event := heard.events.get(timeout=WAIT_S), (Finished, Failed)):
        pass
    return event


def test_a_drain_waits_for_a_task_that_is_being_checked(engine: Engine, endless: Task) -> None:
    short = dataclasses.replace(endless, params=SamplingParams(max_new_tokens=2))
    with engine.expected():
        closing = threading.Thread(target=engine.close, args=(WAIT_S,), kwargs={"drain": True})
        closing.start()
        while not engine._closing:
            time.sleep(0.001)
        with pytest.raises(ApiError, match="shutting down"), engine.expected():
            pass
        time.sleep(0.1)
        assert engine._thread.is_alive()
        heard = Heard(engine, short)
    assert isinstance(heard.end(), Finished)
    closing.join()
    assert not engine._thread.is_alive()


def test_a_task_that_is_checked_for_too_long_is_turned_away(engine: Engine, endless: Task) -> None:
    with engine.expected():
        engine.close(0.01, drain=True)
        with pytest.raises(ApiError, match="shutting down"):
            Heard(engine, endless)


def test_a_drain_ends_when_its_time_is_over(engine: Engine, endless: Task) -> None:
    asked = [Heard(engine, endless) for _ in range(3)]
    engine.close(0.01, drain=True)
    ends = [ended(heard) for heard in asked]  # the first may be done by then, on a machine that stood still
    assert isinstance(ends[-1], Failed) and ends[-1].error.status == 503


def test_beyond_the_limit_there_is_no_room(engine: Engine, endless: Task) -> None:
    first = Heard(engine, endless)
    first.until(lambda event: isinstance(event, TextDelta))
    for _ in range(engine.limit):
        Heard(engine, endless)
    with pytest.raises(ApiError) as raised:
        engine.submit("other", endless, lambda event: None)
    assert raised.value.status == 429 and int(raised.value.headers["Retry-After"]) >= 1
    engine.close(0)


def test_who_waits_is_counted_while_others_come(engine: Engine, endless: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    came = threading.Thread(target=lambda: Heard(engine, endless, "another"))

    class Busy(OrderedDict[str, Any]):
        def values(self) -> Any:
            for items in super().values():
                yield items
                if came.ident is None:
                    came.start()
                    came.join(0.2)  # it waits for the count, if that is safe

    begun, go_on = threading.Event(), threading.Event()

    def hold(event: Event) -> None:
        """Keeps the model's thread, which would take the next one, until all are counted."""
        begun.set()
        go_on.wait(WAIT_S)

    engine.submit("first", endless, hold)
    assert begun.wait(WAIT_S)
    for client in ("me", "you"):
        Heard(engine, endless, client)
    monkeypatch.setattr(engine._queue, "_waiting", Busy(engine._queue._waiting))
    try:
        assert engine.waiting == 2
        came.join(WAIT_S)
        assert engine.waiting == 3
    finally:
        go_on.set()
        engine.close(0)


def test_an_error_in_the_model_is_told_and_the_thread_lives_on(engine: Engine, endless: Task) -> None:
    broken = Heard(engine, Task([10**6], None, SamplingParams.greedy(), ()))
    event = broken.end()
    assert isinstance(event, Failed) and event.error.status >= 400
    again = Heard(engine, endless)
    again.until(lambda event: isinstance(event, TextDelta))
    engine.close(0)


def test_who_is_turned_away_hears_how_long_answers_take(endless: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds are guessed. After an answer of 100: 10 + 0.3 * 90 = 37; after another: 37 + 0.3 * 63 = 55.9."""
    now, engine, said = 0.0, Engine(load(), limit=0), list[str]()

    def outcome(job: QueuedTask) -> Event:
        nonlocal now
        with pytest.raises(ApiError) as raised:
            engine.check_room()
        said.append(raised.value.headers["Retry-After"])
        now += 100.0
        return Failed(shutting_down())

    monkeypatch.setattr("omnilmm_lite.serve.engine.time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(engine, "_begun", outcome)
    for _ in range(3):
        Heard(engine, endless).events.get(timeout=WAIT_S)
    engine.close(0)
    assert said == ["10", "37", "56"]
