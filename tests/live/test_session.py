"""The pipeline: what is described, what is skipped and dropped, what a question interrupts, and how all ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.events import (
    AnswerEnded,
    AnswerPiece,
    FrameDescribed,
    QuestionAsked,
    SessionBegan,
    SourceEnded,
    StatusChanged,
    Summarised,
)
from omnilmm_lite.live.options import Look, SessionOptions
from omnilmm_lite.live.stages.answering import LONGEST_QUESTION, MOST_WAITING
from tests.live.sessions import GREEDY, LONGEST_S, SlowTower, Watched, session_threads, shape, until, watch

RED = "The picture shows a red circle on a light background."
BLUE = "The picture shows a blue triangle on a light background."


def test_each_new_sight_is_described_once() -> None:
    async def play(watched: Watched) -> None:
        red = watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        watched.frames.put(shape("red"))
        await until(lambda: watched.session.status.unchanged == 1)
        watched.frames.put(shape("blue", "triangle"))
        (first, second) = await watched.until(FrameDescribed, 2)
        assert (first.frame, first.sha256, first.description) == (1, red.sha256, RED)
        assert (second.frame, second.description) == (3, BLUE)
        assert first.picture is red.picture
        assert first.thumbnail.startswith(b"\xff\xd8")  # JPEG

    watched = watch(play)
    status = watched.session.status
    assert (status.captured, status.described, status.unchanged, status.dropped) == (3, 2, 1, 0)
    assert [type(each) for each in watched.events if not isinstance(each, StatusChanged)] == [
        SessionBegan, FrameDescribed, FrameDescribed, SourceEnded
    ]  # fmt: skip
    assert watched.told(StatusChanged)[-1].status.described == 2


def test_a_threshold_of_zero_describes_every_frame() -> None:
    async def play(watched: Watched) -> None:
        for count in (1, 2):
            watched.frames.put(shape("red"))
            await watched.until(FrameDescribed, count)

    assert watch(play, lambda: Watched(options=SessionOptions(threshold=0))).session.status.unchanged == 0


def test_descriptions_keep_their_distance_until_the_source_ends() -> None:
    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        watched.frames.put(shape("blue", "triangle"))
        await until(lambda: watched.session.status.captured == 2)
        await anyio.sleep(0.1)  # for a description that would be a mistake
        assert len(watched.told(FrameDescribed)) == 1

    watched = watch(play, lambda: Watched(options=SessionOptions(every_s=10 * LONGEST_S)))
    assert [each.description for each in watched.told(FrameDescribed)] == [RED, BLUE]


def test_frames_that_come_while_one_is_described_give_way_to_the_newest() -> None:
    tower = SlowTower()

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await until(lambda: tower.starts == 1)
        for colour in ("green", "yellow", "blue"):
            came = watched.frames.put(shape(colour))
            while watched.session.status.captured < came.number:
                await anyio.sleep(0.005)
        tower.go.set()
        assert [each.frame for each in await watched.until(FrameDescribed, 2)] == [1, 4]

    status = watch(play, lambda: Watched(tower.model)).session.status
    assert (status.captured, status.described, status.dropped) == (4, 2, 2)


def test_a_question_about_now_looks_at_the_newest_frame() -> None:
    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        question_id = watched.session.ask(" What is this? ")
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.question_id, answer.text, answer.looked_at) == (question_id, "This is a red circle.", 1)
        watched.frames.put(shape("blue", "triangle"))
        await watched.until(FrameDescribed, 2)
        watched.session.ask("What color is the shape?")
        assert [(each.text, each.looked_at) for each in (await watched.until(AnswerEnded, 2))[1:]] == [
            ("The shape is blue.", 3 if answer.looked_at == 2 else 2)
        ]
        await watched.until(Summarised)

    watched = watch(play)
    assert watched.told(QuestionAsked)[0].text == "What is this?"
    pieces = [each.text for each in watched.told(AnswerPiece) if each.question_id == 1]
    assert "".join(pieces) == "This is a red circle."
    assert watched.session.status.waiting_questions == 0


def test_a_question_before_the_first_frame_waits_for_it() -> None:
    async def play(watched: Watched) -> None:
        watched.session.ask("What is this?")
        await watched.until(QuestionAsked)
        watched.frames.put(shape("red"))
        (answer,) = await watched.until(AnswerEnded)
        assert answer.text == "This is a red circle."

    watch(play)


def test_a_question_without_any_frame_is_answered_at_the_end() -> None:
    async def play(watched: Watched) -> None:
        watched.session.ask("What is this?")

    (answer,) = watch(play).told(AnswerEnded)
    assert answer.looked_at is None


def test_a_question_interrupts_the_encoding_of_another_sight() -> None:
    tower = SlowTower()

    async def play(watched: Watched) -> None:
        tower.go.set()
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        tower.go.clear()
        watched.frames.put(shape("green"))
        await until(lambda: tower.starts == 2)
        watched.session.ask("What was there before?")  # from descriptions: the tower hasn't to go on for that
        await watched.until(AnswerEnded)
        assert tower.ends == 1
        tower.go.set()
        described = await watched.until(FrameDescribed, 2)  # the frame that was interrupted, as no newer one came
        assert described[1].frame == 2

    assert watch(play, lambda: Watched(tower.model)).session.status.dropped == 0


def test_the_encoding_of_what_a_question_looks_at_is_let_finish() -> None:
    tower = SlowTower()

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await until(lambda: tower.starts == 1)
        watched.session.ask("What is this?")
        await watched.until(QuestionAsked)
        await anyio.sleep(0.1)  # for an interrupt that would be a mistake
        tower.go.set()
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.text, answer.looked_at) == ("This is a red circle.", 1)
        await watched.until(FrameDescribed)

    watch(play, lambda: Watched(tower.model))
    assert tower.starts == tower.ends == 1  # once for both


def test_a_question_looks_at_a_frame_that_is_encoded_already_where_the_newest_looks_the_same() -> None:
    tower = SlowTower()
    tower.go.set()
    other = shape("red")
    other.putpixel((0, 0), (250, 250, 250))  # another picture, and the same sight

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        watched.frames.put(other)
        await until(lambda: watched.session.status.unchanged == 1)
        watched.session.ask("What is this?")
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.text, answer.looked_at) == ("This is a red circle.", 1)

    watch(play, lambda: Watched(tower.model))
    assert tower.starts == 1


def test_an_interrupted_frame_is_dropped_where_a_newer_one_waits() -> None:
    tower = SlowTower()

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await until(lambda: tower.starts == 1)
        watched.frames.put(shape("blue", "triangle"))
        await until(lambda: watched.session.status.captured == 2)
        watched.session.ask("What is this?")
        await until(lambda: tower.starts == 2)  # the question's: the newest frame
        tower.go.set()
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.text, answer.looked_at) == ("This is a blue triangle.", 2)
        assert [each.frame for each in await watched.until(FrameDescribed)] == [2]

    assert watch(play, lambda: Watched(tower.model)).session.status.dropped == 1


def test_questions_are_answered_in_turn_and_a_spoken_one_interrupts() -> None:
    tower = SlowTower()

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await until(lambda: tower.starts == 1)
        first, second = watched.session.ask("What is this?"), watched.session.ask("What do you see?")
        await anyio.sleep(0.05)
        spoken = watched.session.ask("What color is the shape?", spoken=True)
        tower.go.set()
        answers = await watched.until(AnswerEnded, 3)
        assert [each.question_id for each in answers] == [first, second, spoken]
        assert [each.interrupted for each in answers] == [True, False, False]
        assert [each.text for each in answers] == ["", "I see a red circle.", "The shape is red."]

    watch(play, lambda: Watched(tower.model))


def test_an_interrupt_ends_an_answer_and_nothing_else() -> None:
    tower = SlowTower()

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await until(lambda: tower.starts == 1)
        watched.session.interrupt()
        watched.session.ask("What is this?")
        await anyio.sleep(0.05)
        watched.session.interrupt()
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.interrupted, answer.first_piece_s) == (True, None)
        tower.go.set()
        await watched.until(FrameDescribed)

    watch(play, lambda: Watched(tower.model))


@pytest.mark.parametrize(
    ("look", "question", "looks"),
    [
        (Look.AUTO, "What was there before?", False),
        (Look.ALWAYS, "What was there before?", True),
        (Look.NEVER, "What is this?", False),
    ],
)
def test_who_answers_is_an_option(look: Look, question: str, looks: bool) -> None:
    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        watched.session.ask(question)
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.looked_at == 1) is looks

    watch(play, lambda: Watched(options=SessionOptions(look=look, answer=GREEDY)))


def test_what_can_not_be_asked_is_said_at_once() -> None:
    async def play(watched: Watched) -> None:
        for text, said in ((" ", "empty"), ("x" * (LONGEST_QUESTION + 1), "characters")):
            with pytest.raises(InputError, match=said):
                watched.session.ask(text)
        for _ in range(MOST_WAITING):
            watched.session.ask("What is this?")
        with pytest.raises(InputError, match="wait already"):
            watched.session.ask("What is this?")

    watched = watch(play)
    assert len(watched.told(AnswerEnded)) == MOST_WAITING
    with pytest.raises(InputError, match="ended"):
        watched.session.ask("What is this?")


def test_a_session_may_outlive_its_source() -> None:
    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        watched.frames.end()
        await watched.until(SourceEnded)
        watched.session.ask("What is this?")
        (answer,) = await watched.until(AnswerEnded)
        assert answer.text == "This is a red circle."
        watched.session.close()

    watch(play, lambda: Watched(options=SessionOptions(answer=GREEDY, outlives_source=True)))


def test_close_ends_a_source_that_goes_on() -> None:
    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await watched.until(FrameDescribed)
        watched.session.ask("What is this?")
        watched.session.close()
        (answer,) = await watched.until(AnswerEnded)
        assert answer.text == "This is a red circle."
        await until(lambda: watched.ended)

    watch(play)


@pytest.mark.parametrize("ends", ["cancelled", "stopped", "over"])
def test_no_thread_is_left_at_work(ends: str) -> None:
    tower = SlowTower()
    at_work: list[str] = []

    async def play(watched: Watched) -> None:
        watched.frames.put(shape("red"))
        await until(lambda: tower.starts == 1)
        watched.session.ask("What is this?")
        if ends == "stopped":
            watched.session.stop()
        elif ends == "over":
            tower.go.set()

    async def main() -> None:
        watched = Watched(tower.model)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(watched.run, play)
                if ends == "cancelled":
                    await until(lambda: len(watched.told(QuestionAsked)) == 1)
                    scope.cancel()
        at_work.extend(_busy())

    before = set(session_threads())
    anyio.run(main)
    assert at_work == []  # as soon as the session has ended
    for thread in set(session_threads()) - before:  # those that only wait end with the loop
        thread.join(LONGEST_S)
        assert not thread.is_alive()
    assert tower.starts == 1


def _busy() -> list[str]:
    """Names of anyio's threads that run something; those that wait for more work have an empty queue and are idle."""
    return [
        each.name
        for each in threading.enumerate()
        if type(each).__name__ == "WorkerThread" and each not in getattr(each, "idle_workers", ())
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SessionOptions(prompt=" "), "--prompt"),
        (lambda: SessionOptions(every_s=-0.1), "--every"),
        (lambda: SessionOptions(every_s=float("nan")), "--every"),
        (lambda: SessionOptions(window=0), "--window"),
        (lambda: SessionOptions(threshold=1.1), "--threshold"),
    ],
)
def test_options_out_of_range_are_refused(make: Callable[[], SessionOptions], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
