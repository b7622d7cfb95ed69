"""A picture in the tower, and those who are answered beside it. The tower is held up by a switch."""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from omnilmm_lite import load
from omnilmm_lite.engine.decoder import Array
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.engine.vision import Encode
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.model import BesideTower, BundleModel
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.jobs import Event, Failed, Finished, RequestPhase, Started, TextDelta
from omnilmm_lite.serve.model.residence import ModelState
from tests.serve.model.test_crew import WAIT_S, Heard, asked, without_end

Pixels = NDArray[np.float32]


class Held:
    """A tower that waits until it may go on, or its job is stopped."""

    def __init__(self, encode: Encode) -> None:
        self.may_go_on, self.is_running = threading.Event(), threading.Event()
        self.pictures = self.stopped = 0
        self._encode = encode

    def __call__(self, pixels: Pixels) -> Pixels:
        self.pictures += 1
        self.is_running.set()
        stopped = threading.Event()
        with ended_by(stopped.set):
            while not self.may_go_on.wait(0.01):
                if stopped.is_set():
                    self.stopped += 1
                    raise OmniLMMError("ended")
        return self._encode(pixels)


@pytest.fixture
def model() -> BundleModel:
    return load("tiny", threads=1, parallel=3)


@pytest.fixture
def tower(model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held(model.parts.open_tower())
    monkeypatch.setattr(model.vision, "_open_tower", lambda: held)
    return held


@pytest.fixture
def engine(model: BundleModel, tower: Held) -> Iterator[Engine]:
    engine = Engine(model, limit=8)
    yield engine
    tower.may_go_on.set()
    engine.close(0)


def test_answers_go_on_beside_a_picture(model: BundleModel, tower: Held, engine: Engine) -> None:
    running = Heard(engine, without_end(model))
    running.until(TextDelta)
    looking = Heard(engine, asked(model, "What is this?", "cat.png"), "another")
    assert tower.is_running.wait(WAIT_S)
    for _ in range(20):
        running.until(TextDelta)
    third = Heard(engine, asked(model, "hi", None), "a third")  # without a picture, it doesn't wait for one
    third.text()
    tower.may_go_on.set()
    assert looking.text() == "This is a cat."
    engine.cancel(running.job)


def test_who_comes_alone_is_answered_beside_a_picture(model: BundleModel, tower: Held, engine: Engine) -> None:
    """Nobody is being answered, so the model's thread waits; who comes wakes it up."""
    looking = Heard(engine, asked(model, "What is this?", "cat.png"))
    assert tower.is_running.wait(WAIT_S)
    second = Heard(engine, asked(model, "hi", None), "another")
    second.text()
    tower.may_go_on.set()
    assert looking.text() == "This is a cat."


def test_pictures_take_turns_and_a_remembered_one_waits_for_none(
    model: BundleModel, tower: Held, engine: Engine
) -> None:
    tower.may_go_on.set()
    assert Heard(engine, asked(model, "What is this?", "cat.png")).text() == "This is a cat."
    tower.may_go_on.clear()
    waiting = [
        Heard(engine, asked(model, "What is this?", name), name)
        for name in ("easy-vqa-teal-circle.png", "easy-vqa-brown-triangle.png")
    ]
    tower.is_running.clear()
    again = Heard(engine, asked(model, "What is this?", "cat.png"), "another")
    assert again.text() == "This is a cat." and not any(each.events.qsize() > 1 for each in waiting)
    tower.may_go_on.set()
    assert [each.text() for each in waiting] == ["This is a teal circle.", "This is a brown triangle."]
    assert tower.pictures == 3


def test_two_that_show_the_same_picture_have_it_encoded_once(model: BundleModel, tower: Held, engine: Engine) -> None:
    """The second one has waited for the first one's, in the queue."""
    first = Heard(engine, asked(model, "What is this?", "cat.png"))
    assert tower.is_running.wait(WAIT_S)
    second = Heard(engine, asked(model, "What is this?", "cat.png"), "another")
    assert second.next() == Started(RequestPhase.ENCODE)
    tower.may_go_on.set()
    ends = [last_of(each) for each in (first, second)]
    assert isinstance(ends[0], Finished) and isinstance(ends[1], Finished)
    assert ends[0].vision_s > 0 == ends[1].vision_s and tower.pictures == 1
    assert ends[1].queue_s > ends[0].queue_s


def test_a_client_that_leaves_ends_its_picture_and_no_other(model: BundleModel, tower: Held, engine: Engine) -> None:
    running = Heard(engine, without_end(model))
    running.until(TextDelta)
    left = Heard(engine, asked(model, "What is this?", "cat.png"), "left")
    assert tower.is_running.wait(WAIT_S)
    waiting = Heard(
        engine, asked(model, "What is this?", "easy-vqa-teal-circle.png"), "waits"
    )  # behind it, in the tower's queue
    assert waiting.next() == Started(RequestPhase.ENCODE)
    engine.cancel(left.job)
    assert isinstance(last_of(left), Failed) and tower.stopped == 1
    tower.may_go_on.set()
    assert waiting.text() == "This is a teal circle."
    running.until(TextDelta)
    engine.cancel(running.job)


def test_a_client_that_leaves_before_its_picture_has_its_turn_frees_its_slot(
    model: BundleModel, tower: Held, engine: Engine
) -> None:
    looking = Heard(engine, asked(model, "What is this?", "cat.png"))
    assert tower.is_running.wait(WAIT_S)
    left = Heard(engine, asked(model, "What is this?", "easy-vqa-teal-circle.png"), "left")
    assert left.next() == Started(RequestPhase.ENCODE)
    engine.cancel(left.job)
    assert isinstance(last_of(left), Failed) and engine.running == 1  # while the first one is still in the tower
    tower.may_go_on.set()
    assert looking.text() == "This is a cat." and tower.pictures == 1


def test_a_picture_that_was_stopped_keeps_no_model_in_memory() -> None:
    model = load("tiny", threads=1, parallel=3)
    tower, vision = Held(model.parts.open_tower()), weakref.ref(model.vision)
    model.vision._open_tower = lambda: tower  # not by a fixture, which would keep the model
    tasks = [asked(model, "What is this?", "cat.png"), dataclasses.replace(asked(model, "hi", None), keep_s=0.0)]
    engine = Engine(model, limit=8, reload=lambda: load("tiny", threads=1, parallel=3))
    del model
    looking = Heard(engine, tasks[0])
    assert tower.is_running.wait(WAIT_S)
    engine.cancel(looking.job)
    assert isinstance(last_of(looking), Failed)
    Heard(engine, tasks[1]).text()
    deadline = time.monotonic() + WAIT_S
    while engine.residence.state is not ModelState.UNLOADED and time.monotonic() < deadline:
        time.sleep(0.01)
    engine.close(0)
    assert vision() is None


def test_a_picture_that_fails_is_its_own_trouble(
    model: BundleModel, tower: Held, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Heard(engine, without_end(model))
    running.until(TextDelta)

    def fails(pixels: Pixels) -> Pixels:
        raise InputError("picture: it is none")

    monkeypatch.setattr(model.vision, "_encode", fails)
    failed = last_of(Heard(engine, asked(model, "What is this?", "cat.png"), "another"))
    assert isinstance(failed, Failed) and failed.error.status == 400
    running.until(TextDelta)
    engine.cancel(running.job)


def test_the_end_ends_a_picture(model: BundleModel, tower: Held, engine: Engine) -> None:
    looking = Heard(engine, asked(model, "What is this?", "cat.png"))
    assert tower.is_running.wait(WAIT_S)
    engine.close(0.0)
    failed = last_of(looking)
    assert isinstance(failed, Failed) and failed.error.status == 503
    assert not [each for each in threading.enumerate() if each.name.startswith("tower")]


@pytest.fixture
def engine_with_turns(model: BundleModel, tower: Held) -> Iterator[Engine]:
    """As of a bundle whose prompts have a graph of their own, for which there is no room beside the tower."""
    model.parts = dataclasses.replace(model.parts, takes_turns=True, beside_tower=BesideTower.ANSWERS)
    engine = Engine(model, limit=8)
    yield engine
    tower.may_go_on.set()
    engine.close(0)


def test_where_prompts_and_pictures_take_turns_answers_go_on(
    model: BundleModel, tower: Held, engine_with_turns: Engine
) -> None:
    engine = engine_with_turns
    running = Heard(engine, without_end(model))
    running.until(TextDelta)
    looking = Heard(engine, asked(model, "What is this?", "cat.png"), "another")
    assert tower.is_running.wait(WAIT_S)
    third = Heard(engine, asked(model, "hi", None), "a third")
    assert third.next() == Started(RequestPhase.PREFILL)
    for _ in range(20):
        running.until(TextDelta)
    assert third.events.empty()  # its prompt waits for the picture
    engine.cancel(running.job)
    assert isinstance(last_of(running), Failed)
    tower.may_go_on.set()
    assert looking.text() == "This is a cat."
    third.text()


def test_who_waits_for_a_picture_of_another_may_leave(
    model: BundleModel, tower: Held, engine_with_turns: Engine
) -> None:
    """Nothing is run meanwhile, and still it is heard at once."""
    engine = engine_with_turns
    looking = Heard(engine, asked(model, "What is this?", "cat.png"))
    assert tower.is_running.wait(WAIT_S)
    waiting = Heard(engine, asked(model, "hi", None), "another")
    assert waiting.next() == Started(RequestPhase.PREFILL)
    engine.cancel(waiting.job)
    assert isinstance(last_of(waiting), Failed)
    second = Heard(engine, asked(model, "What is this?", "easy-vqa-teal-circle.png"), "a third")
    engine.cancel(looking.job)
    assert isinstance(last_of(looking), Failed)
    tower.may_go_on.set()
    assert second.text() == "This is a teal circle."
    assert engine.running == 0


def test_a_prompt_that_came_before_a_picture_is_run_before_it(
    model: BundleModel, tower: Held, engine_with_turns: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, prefills, may_prefill = engine_with_turns, threading.Event(), threading.Event()
    prefill = GraphDecoder.prefill

    def held(decoder: GraphDecoder, keys: Sequence[Hashable], embeddings: Array) -> Array:
        prefills.set()
        assert may_prefill.wait(WAIT_S)
        return prefill(decoder, keys, embeddings)

    running = Heard(engine, without_end(model))
    running.until(TextDelta)
    monkeypatch.setattr(GraphDecoder, "prefill", held)
    before = Heard(engine, asked(model, "hi", None), "another")
    assert prefills.wait(WAIT_S)
    looking = Heard(engine, asked(model, "What is this?", "cat.png"), "a third")
    assert not tower.is_running.wait(0.2)
    may_prefill.set()
    assert before.until(TextDelta)
    assert tower.is_running.wait(WAIT_S)
    tower.may_go_on.set()
    assert looking.text() == "This is a cat."
    engine.cancel(running.job)


def test_a_picture_waits_for_the_prompt_about_the_one_before(
    model: BundleModel, tower: Held, engine_with_turns: Engine
) -> None:
    by_then: list[int] = []  # pictures, when the first one's first word came
    first = asked(model, "What is this?", "cat.png")

    def listen(event: Event) -> None:
        if isinstance(event, TextDelta):
            by_then.append(tower.pictures)

    engine_with_turns.submit("one", first, listen)
    second = Heard(engine_with_turns, asked(model, "What is this?", "easy-vqa-teal-circle.png"), "another")
    tower.may_go_on.set()
    assert second.text() == "This is a teal circle."
    assert tower.pictures == 2 and by_then[0] == 1


def test_a_prompt_of_a_few_tokens_needs_no_graph_of_its_own(
    model: BundleModel, tower: Held, engine_with_turns: Engine
) -> None:
    """Such as that of the second answer to one question: all but its last token is in the slot."""
    engine, task = engine_with_turns, asked(model, "hi", None)
    several = Heard(engine, dataclasses.replace(task, more=(task,) * 200))
    several.until(TextDelta)
    looking = Heard(engine, asked(model, "What is this?", "cat.png"), "another")
    assert tower.is_running.wait(WAIT_S)
    for _ in range(3):
        several.until(Finished)
    engine.cancel(several.job)
    tower.may_go_on.set()
    assert looking.text() == "This is a cat."


def test_where_the_only_graph_makes_room_for_the_tower_all_wait(
    model: BundleModel, tower: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = dataclasses.replace(model.parts, takes_turns=True, beside_tower=BesideTower.NOTHING)
    monkeypatch.setattr(model, "parts", parts)
    engine = Engine(model, limit=8)
    running = Heard(engine, without_end(model))
    running.until(TextDelta)
    looking = Heard(engine, asked(model, "What is this?", "cat.png"), "another")
    assert tower.is_running.wait(WAIT_S)
    while not running.events.empty():
        running.next()
    time.sleep(0.1)
    assert running.events.empty()
    tower.may_go_on.set()
    assert looking.text() == "This is a cat."
    running.until(TextDelta)
    engine.close(0.0)


def last_of(heard: Heard) -> Finished | Failed:
    while not isinstance(event := heard.next(), (Finished, Failed)):
        pass
    return event
