"""Several answers at once in the server's engine: who joins, leaves, waits, and that nobody hears another's words."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from omnilmm_lite import load
from omnilmm_lite.answer.batch import AnswerBatch
from omnilmm_lite.answer.grammar import GrammarCompiler
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.model import Model
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Event, Failed, Finished, QueuedTask, Task, TextDelta
from tests.serve.serving import PICTURES

WAIT_S = 30.0
SLOTS = 3
GREEDY = SamplingParams.greedy(max_new_tokens=40)
ENDLESS = SamplingParams(temperature=5.0, top_k=0, top_p=1.0, max_new_tokens=1500, seed=1)


@pytest.fixture(scope="module")
def model() -> Model:
    return load(threads=1, parallel=SLOTS)


@pytest.fixture
def engine(model: Model) -> Iterator[Engine]:
    engine = Engine(model, limit=8)
    yield engine
    engine.close(0)


class Heard:
    """A job and what it said."""

    def __init__(self, engine: Engine, task: Task, client: str = "me") -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.job: QueuedTask = engine.submit(client, task, self.events.put)

    def next(self) -> Event:
        return self.events.get(timeout=WAIT_S)

    def until(self, kind: type[Event]) -> Event:
        while not isinstance(event := self.next(), kind):
            assert not isinstance(event, Failed), event
        return event

    def text(self) -> str:
        """Up to the end."""
        said = ""
        while not isinstance(event := self.next(), (Finished, Failed)):
            said += event.text if isinstance(event, TextDelta) else ""
        assert isinstance(event, Finished), event
        return said


def asked(model: Model, question: str, picture: str | None, params: SamplingParams = GREEDY) -> Task:
    ids = model.encode_chat([{"role": "user", "content": question}], image=picture is not None)
    image = None if picture is None else model.vision.prepare(load_image(PICTURES / picture))
    return Task(ids, image, params)


def without_end(model: Model) -> Task:
    """More than any machine says before the test is over."""
    task = asked(model, "hi", None, ENDLESS)
    return dataclasses.replace(task, more=(task,) * 100)


QUESTIONS = (
    ("What is this?", "cat.png", "This is a cat."),
    ("What is this?", "easy-vqa-teal-circle.png", "This is a teal circle."),
    ("Is there an owl?", "owl-on-a-photo.jpg", "Yes, there is an owl."),
    ("What can you do?", None, "I can name things in simple pictures, and say their colour and place."),
)


def test_each_client_hears_its_own_answer(engine: Engine, model: Model) -> None:
    heard = [
        (Heard(engine, asked(model, question, picture), client=f"client {number}"), answer)
        for number in range(3)
        for question, picture, answer in QUESTIONS[:3]
    ]
    for each, answer in heard:
        assert each.text() == answer


def test_a_short_answer_overtakes_a_long_one(engine: Engine, model: Model) -> None:
    long = Heard(engine, without_end(model))
    long.until(TextDelta)
    for question, picture, answer in QUESTIONS:
        assert Heard(engine, asked(model, question, picture)).text() == answer
    assert engine.running == 1
    engine.cancel(long.job)


def test_no_more_than_there_are_slots_run_and_the_next_waits(engine: Engine, model: Model) -> None:
    running = [Heard(engine, without_end(model), client=f"client {number}") for number in range(SLOTS)]
    for each in running:
        each.until(TextDelta)
    waiting = Heard(engine, asked(model, *QUESTIONS[0][:2]), client="last")
    assert (engine.running, engine.place(waiting.job)) == (SLOTS, 1)
    engine.cancel(running[1].job)
    assert waiting.text() == QUESTIONS[0][2]
    while not isinstance(event := running[1].next(), Failed):
        pass
    assert event.error.status == 503
    for each in (running[0], running[2]):
        each.until(TextDelta)  # and they go on


def test_several_answers_of_one_request_come_one_behind_the_other(engine: Engine, model: Model) -> None:
    """All about the first one's picture."""
    first, second = asked(model, "What is this?", "cat.png"), asked(model, "Is there a dog?", "cat.png")
    heard = Heard(engine, dataclasses.replace(first, more=(second,)))
    beside = Heard(engine, asked(model, *QUESTIONS[2][:2]), client="other")
    assert heard.text() == "This is a cat."
    assert heard.text() == "No, there is no dog."
    assert beside.text() == QUESTIONS[2][2]


def test_who_borrows_the_model_has_it_alone(engine: Engine, model: Model) -> None:
    """It waits for those who run, those behind it for its return."""
    running = Heard(engine, asked(model, "hi", None, dataclasses.replace(ENDLESS, max_new_tokens=60)))
    running.until(TextDelta)
    alone, back = threading.Event(), threading.Event()

    def borrow(_: Model) -> None:
        assert engine.running == 1
        alone.set()
        assert back.wait(WAIT_S)

    borrower = Heard(engine, Task([], None, SamplingParams(), lend=borrow), client="live")
    assert alone.wait(WAIT_S)
    assert isinstance(running.until(Finished), Finished)
    behind = Heard(engine, asked(model, *QUESTIONS[0][:2]))
    assert engine.place(behind.job) == 1
    back.set()
    assert isinstance(borrower.next(), Finished)
    assert behind.text() == QUESTIONS[0][2]


def test_who_borrows_the_model_leaves_no_slot_free(engine: Engine, model: Model) -> None:
    """So that as many may wait as the limit says, and no more."""
    alone, back = threading.Event(), threading.Event()

    def borrow(_: Model) -> None:
        alone.set()
        assert back.wait(WAIT_S)

    Heard(engine, Task([], None, SamplingParams(), lend=borrow), client="live")
    assert alone.wait(WAIT_S)
    waiting = [Heard(engine, asked(model, *QUESTIONS[3][:2])) for _ in range(engine.limit)]
    with pytest.raises(ApiError, match="requests wait already"):
        engine.check_room()
    back.set()
    assert {each.text() for each in waiting} == {QUESTIONS[3][2]}


def test_a_schema_that_breaks_ends_its_own_answer_alone(engine: Engine, model: Model) -> None:
    """By its client's fault, and nobody else hears of it."""
    config = model.config
    compiler = GrammarCompiler(model.parts.tokenizer_file, config.decoder.vocab_size, config.tokens.eos)
    endless = {"type": "array", "items": {"$ref": "#"}, "minItems": 2}
    beside = Heard(engine, without_end(model), client="beside")
    beside.until(TextDelta)
    task = dataclasses.replace(asked(model, *QUESTIONS[3][:2]), grammar=compiler.json_schema(endless))
    broken = Heard(engine, task)
    while not isinstance(event := broken.next(), (Finished, Failed)):
        pass
    assert isinstance(event, Failed) and event.error.status == 400
    beside.until(TextDelta)


def test_a_run_that_fails_fails_for_all_and_the_thread_lives_on(
    engine: Engine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = [Heard(engine, without_end(model), client=f"client {number}") for number in range(2)]
    for each in running:
        each.until(TextDelta)

    def broken(batch: AnswerBatch, **how: Any) -> Any:
        raise OmniLMMError("the card is gone")

    monkeypatch.setattr(AnswerBatch, "step", broken)
    for each in running:
        while not isinstance(event := each.next(), Failed):
            pass
        assert event.error.message == "the card is gone"
    monkeypatch.undo()
    assert Heard(engine, asked(model, *QUESTIONS[0][:2])).text() == QUESTIONS[0][2]


@pytest.mark.parametrize("drain", [False, True])
def test_the_end_comes_for_all(model: Model, drain: bool) -> None:
    engine = Engine(model, limit=8)
    short = dataclasses.replace(ENDLESS, max_new_tokens=5)
    task = asked(model, "hi", None, short) if drain else without_end(model)
    heard = [Heard(engine, task, str(number)) for number in range(5)]
    heard[0].until(TextDelta)
    engine.close(WAIT_S if drain else 0.0, drain=drain)
    for each in heard:
        while not isinstance(event := each.next(), (Finished, Failed)):
            pass
        assert isinstance(event, Finished if drain else Failed)
