"""Questions through the pipeline: the answers are those that each gets alone, in the order of the questions."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnilmm_lite import load
from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.answer.steps import Logits
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.model import BundleModel
from omnilmm_lite.pipeline.asked import Answered, Asked, Query
from omnilmm_lite.pipeline.encoding import AHEAD, LONGEST_WINDOW, Windows, encoding
from omnilmm_lite.pipeline.pipeline import MOST_OPEN, answered
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.sampling_params import SamplingParams
from tests.paths import ROOT

PICTURES = sorted((ROOT / "examples" / "pictures").glob("*.png"))
QUESTIONS = ("What is this?", "Describe this picture.", "what color is the shape?", "Is there a cat? Answer at length.")
WHOLE_CONTEXT = 10**6

Said = str | None  # None: what is wrong with the question


@pytest.fixture(scope="module")
def model() -> BundleModel:
    return load("tiny", threads=1, parallel=4)


@functools.cache
def another() -> BundleModel:
    """Which encodes the questions, and answers each of them alone."""
    return load("tiny", threads=1)


def question(text: str, tokens: int = 24) -> Query:
    """Of which WHOLE_CONTEXT tokens are more than there is room for."""
    ids = another().encode_chat([{"role": "user", "content": text}], image=True)
    if tokens == WHOLE_CONTEXT:
        return Query(ids * another().text.decoder.context, SamplingParams.greedy())
    return Query(ids, SamplingParams.greedy(max_new_tokens=tokens))


def alone(path: Path, text: str, tokens: int) -> Said:
    if tokens == WHOLE_CONTEXT:
        return None
    query = question(text, tokens)
    return "".join(Answer(another().text, Prompt(query.ids, another().vision.encode(path)), query.params))


def said(done: Answered[int]) -> list[Said]:
    return [None if isinstance(each, InputError) else each.text for each in done.answers]


@pytest.mark.parametrize("limit", [1, 3, 4])
def test_as_alone_and_in_order(limit: int, model: BundleModel) -> None:
    draw = random.Random(limit)
    pictures = {path: model.vision.prepare(path) for path in PICTURES}
    asked: list[Asked[int]] = []
    expected: list[list[Said]] = []
    for number in range(25):
        path = draw.choice(PICTURES)
        chosen = [(draw.choice(QUESTIONS), draw.choice((1, 2, 24, WHOLE_CONTEXT))) for _ in range(draw.randrange(4))]
        queries = [question(*each) for each in chosen]
        asked.append(Asked(number, pictures[path] if chosen or draw.random() < 0.5 else None, queries))
        expected.append([alone(path, *each) for each in chosen])
    done = [*answered(model, asked, Width(limit, is_measured=False))]
    assert [each.what for each in done] == [*range(25)]
    assert [said(each) for each in done] == expected
    assert len({text for each in expected for text in each}) > 10


def test_what_is_asked_nothing_goes_out_before_the_next_comes_in(model: BundleModel) -> None:
    """A run of many pictures that need no answer shows how it gets on."""
    came: list[int] = []

    def asked() -> Iterator[Asked[int]]:
        for number in range(5):
            came.append(number)
            yield Asked(number)

    for done in answered(model, asked(), Width(4, is_measured=False)):
        assert came[-1] == done.what


def test_no_more_come_in_than_may_wait_for_a_long_answer(model: BundleModel) -> None:
    came: list[int] = []
    picture = model.vision.prepare(PICTURES[0])

    def asked() -> Iterator[Asked[int]]:
        for number in range(4 * MOST_OPEN):
            came.append(number)
            yield Asked(number, picture, [question(QUESTIONS[0], 1 if number else 24)])

    first = next(iter(answered(model, asked(), Width(4, is_measured=False))))
    assert first.what == 0 and first.answers
    assert len(came) <= MOST_OPEN


@pytest.mark.parametrize("takes_turns", [False, True])
def test_what_fails_on_the_way_is_raised_behind_what_has_come_in(
    model: BundleModel, takes_turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "parts", dataclasses.replace(model.parts, takes_turns=takes_turns))
    picture = model.vision.prepare(PICTURES[0])

    def asked() -> Iterator[Asked[int]]:
        for number in range(3):
            yield Asked(number, picture, [question(QUESTIONS[0])])
        raise OmniLMMError("the disk is gone")

    given: list[int] = []
    with pytest.raises(OmniLMMError, match="the disk is gone"):
        for done in answered(model, asked(), Width(4, is_measured=False)):
            assert said(done) != [None]
            given.append(done.what)
    assert given == [0, 1, 2]


def test_a_window_ends_though_the_same_picture_comes_for_ever(model: BundleModel) -> None:
    pictures = [model.vision.prepare(path) for path in PICTURES[:2]]
    asked = (Asked(number, None if number % 3 == 2 else pictures[number % 3]) for number in itertools.count())
    windows = Windows(model.vision, asked)
    assert [next(windows).what for _ in range(2 * LONGEST_WINDOW)] == [*range(2 * LONGEST_WINDOW)]
    assert not windows.has_next and next(asked).what == 2 * LONGEST_WINDOW


def test_a_machine_at_fault_ends_it_and_the_model_is_as_good_as_new(
    model: BundleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = model.vision.prepare(PICTURES[0])
    taken = itertools.count()
    take = Answer._take

    def broken(self: Answer, token: int, logits: Logits) -> None:
        if next(taken) == 3:
            raise OmniLMMError("no memory")
        take(self, token, logits)

    monkeypatch.setattr(Answer, "_take", broken)
    asked = [Asked(number, picture, [question(QUESTIONS[0])]) for number in range(2)]
    with pytest.raises(OmniLMMError, match="no memory"):
        [*answered(model, asked, Width(4, is_measured=False))]
    (done,) = answered(model, asked[:1], Width(4, is_measured=False))
    assert said(done) == [alone(PICTURES[0], QUESTIONS[0], 24)]


def test_an_interrupt_is_heard_at_once(model: BundleModel) -> None:
    picture, interrupt = model.vision.prepare(PICTURES[0]), Interrupt()

    def asked() -> Iterator[Asked[int]]:
        yield Asked(0, picture, [question(QUESTIONS[0])])
        interrupt.set()
        yield Asked(1, picture, [question(QUESTIONS[0])])

    with interruptible(interrupt), pytest.raises(Interrupted):
        [*answered(model, asked(), Width(2, is_measured=False))]


def test_a_card_encodes_beside_the_answers(model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for its placement: two pictures ahead of the answers, and no more."""
    came: list[int] = []
    pictures = [model.vision.prepare(path) for path in PICTURES]

    def asked() -> Iterator[Asked[int]]:
        for number in range(12):
            came.append(number)
            yield Asked(number, pictures[number % len(pictures)], [question(QUESTIONS[0])])

    card = SimpleNamespace(placement=SimpleNamespace(vision=SimpleNamespace(device=Device.CUDA)))
    monkeypatch.setattr(model, "device", card)
    monkeypatch.setattr("omnilmm_lite.pipeline.encoding.pictures_at_once", lambda *given: 2)
    with encoding(model, asked()) as stream:
        assert next(stream).what == 0
        assert len(came) <= 1 + AHEAD
    came.clear()
    done = [*answered(model, asked(), Width(3, is_measured=False))]
    assert [each.what for each in done] == [*range(12)]
    assert [said(each) for each in done[: len(PICTURES)]] == [[alone(path, QUESTIONS[0], 24)] for path in PICTURES[:12]]
