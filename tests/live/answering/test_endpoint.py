"""What an endpoint is told, and what happens when it is wrong, gone, or back."""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.answering import endpoint as endpoint_module
from omnilmm_lite.live.answering.endpoint import LONGEST_ANSWER, MOST_CHARACTERS, Endpoint
from omnilmm_lite.live.answering.prompts import ANSWER_SYSTEM, SUMMARY_REQUEST, SUMMARY_SYSTEM
from omnilmm_lite.live.answering.text_model import Message, Role
from omnilmm_lite.live.events import AnswerEnded, FrameDescribed, Recovered, Stage, Summarised, Trouble
from omnilmm_lite.live.model_turns import Urgency
from omnilmm_lite.live.options import Look, SessionOptions
from tests.live.answering.fake_endpoint import FakeEndpoint, served
from tests.live.sessions import GREEDY, Watched, shape

NEVER = SessionOptions(look=Look.NEVER, answer=GREEDY, window=2)


def play_with(fake: FakeEndpoint, play: Callable[[Watched], Awaitable[None]]) -> Watched:
    async def main() -> Watched:
        async with Endpoint(fake.address, key="secret") as endpoint:
            watched = Watched(text_model=endpoint, options=NEVER)
            await watched.run(play)
            return watched

    with served(fake):
        return anyio.run(main)


def complete(fake: FakeEndpoint, model: str | None = None) -> str:
    """The answer to one message."""
    pieces: list[str] = []

    async def main() -> None:
        async with Endpoint(fake.address, model) as endpoint:
            await endpoint.complete([Message(Role.USER, "Hello")], Urgency.QUESTION, pieces.append)

    with served(fake):
        anyio.run(main)
    return "".join(pieces)


async def see(watched: Watched, count: int, *pictures: tuple[str, str]) -> None:
    for number, (colour, kind) in enumerate(pictures, count - len(pictures) + 1):
        watched.frames.put(shape(colour, kind))
        await watched.until(FrameDescribed, number)


def test_it_is_told_the_summary_the_window_and_the_question_in_this_order() -> None:
    fake = FakeEndpoint(
        ["A triangle came.", "Event: shapes came.\nLast Round: you asked.", "A square.", "Event: more."]
    )

    async def play(watched: Watched) -> None:
        await see(watched, 3, ("red", "circle"), ("blue", "triangle"), ("yellow", "circle"))
        watched.session.ask("What came before?")
        (answer,) = await watched.until(AnswerEnded)
        assert (answer.text, answer.looked_at, answer.interrupted) == ("A triangle came.", None, False)
        (summary,) = await watched.until(Summarised)
        assert summary.text == "Event: shapes came.\nLast Round: you asked."
        await see(watched, 4, ("gray", "rectangle"))
        watched.session.ask("And now?")
        await watched.until(Summarised, 2)

    play_with(fake, play)
    for each in fake.asked:  # however slow the machine is
        each["messages"][1]["content"] = re.sub(r"- \d+ s ago", "- N s ago", each["messages"][1]["content"])
    answer, summary, second, second_summary = fake.asked
    assert [each["model"] for each in fake.asked] == ["small"] * 4
    assert fake.headers[0]["Authorization"] == "Bearer secret"
    seen = (
        "Seen, oldest first:\n"
        "- N s ago: The picture shows a blue triangle on a light background.\n"
        "- N s ago: The picture shows a yellow circle on a light background."
    )
    assert answer["messages"] == [
        {"role": "system", "content": ANSWER_SYSTEM},
        {"role": "user", "content": f"{seen}\n\nQuestion: What came before?"},
    ]
    assert summary["messages"] == [
        {"role": "system", "content": SUMMARY_SYSTEM},
        {
            "role": "user",
            "content": f"{seen}\n\nYou asked: What came before?\nThe answer was: A triangle came.\n\n{SUMMARY_REQUEST}",
        },
    ]
    newer = (
        "Seen, oldest first:\n"
        "- N s ago: The picture shows a yellow circle on a light background.\n"
        "- N s ago: The picture shows a gray rectangle on a light background."
    )
    notes = "Event: shapes came.\nLast Round: you asked."
    assert second["messages"][1]["content"] == f"Notes of what was before:\n{notes}\n\n{newer}\n\nQuestion: And now?"
    assert second_summary["messages"][1]["content"] == (
        f"Your notes until now:\n{notes}\n\n{newer}\n\nYou asked: And now?\nThe answer was: A square.\n\n"
        f"{SUMMARY_REQUEST}"
    )


def test_gone_in_the_middle_it_is_told_once_and_watching_goes_on_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint_module, "AGAIN_S", 0.02)
    fake = FakeEndpoint(["First answer.", "Event: one.", "Last answer."])

    async def play(watched: Watched) -> None:
        await see(watched, 1, ("red", "circle"))
        watched.session.ask("What is this?")
        await watched.until(Summarised)
        fake.stop()
        for count in (2, 3):
            watched.session.ask("What is this?")
            failed = (await watched.until(AnswerEnded, count))[-1]
            assert (failed.text, failed.first_piece_s) == ("", None)
        (trouble,) = watched.told(Trouble)
        assert (trouble.stage, trouble.message) == (Stage.ANSWER, f"{fake.address} can't be reached")
        await see(watched, 2, ("blue", "triangle"))  # meanwhile
        fake.start()
        (recovered,) = await watched.until(Recovered)  # without a question
        assert recovered.stage is Stage.ANSWER
        watched.session.ask("What is this?")
        assert (await watched.until(AnswerEnded, 4))[-1].text == "Last answer."

    assert len(play_with(fake, play).told(Trouble)) == 1


def test_an_answer_that_breaks_off_keeps_what_was_said() -> None:
    fake = FakeEndpoint(["One two three."])
    fake.breaks = True

    async def play(watched: Watched) -> None:
        await see(watched, 1, ("red", "circle"))
        watched.session.ask("What is this?")
        (answer,) = await watched.until(AnswerEnded)
        assert answer.text == "One"
        assert [each.message for each in watched.told(Trouble)] == [f"{fake.address} broke its answer off"]

    play_with(fake, play)


def test_a_question_ends_a_summary_and_the_next_one_holds_both_rounds() -> None:
    fake = FakeEndpoint(["First answer.", "Event: never told.", "Second answer.", "Event: all."])

    async def play(watched: Watched) -> None:
        await see(watched, 1, ("red", "circle"))
        watched.session.ask("One?")
        await watched.until(AnswerEnded)
        while len(fake.asked) < 2:  # the summary is under way
            await anyio.sleep(0.005)
        watched.session.ask("Two?")
        hold.set()
        (summary,) = await watched.until(Summarised)
        assert summary.text == "Event: all."

    hold = threading.Event()
    fake.holds = hold
    real_wait = hold.wait
    # answers go on at once, the summary waits
    hold.wait = lambda timeout=None: len(fake.asked) == 1 or real_wait(timeout)  # type: ignore[method-assign]
    play_with(fake, play)
    told = fake.asked[-1]["messages"][1]["content"]
    assert "You asked: One?\nThe answer was: First answer." in told
    assert "You asked: Two?\nThe answer was: Second answer." in told


def test_the_model_is_the_first_listed_or_the_one_that_is_named() -> None:
    fake = FakeEndpoint()
    assert complete(fake) == "An answer."
    assert complete(fake, "large") == "An answer."
    assert [each["model"] for each in fake.asked] == ["small", "large"]


@pytest.mark.parametrize(
    ("fake", "model", "said"),
    [
        (FakeEndpoint(models=[]), None, "lists no model; load one there"),
        (FakeEndpoint(), "huge", "--llm-model: huge is not at .*, which lists small, large"),
    ],
)
def test_a_model_that_is_missing_is_said_before_anything_begins(
    fake: FakeEndpoint, model: str | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        complete(fake, model)
    assert fake.asked == []


def test_nobody_at_the_address_is_said_before_anything_begins() -> None:
    fake = FakeEndpoint()
    with served(fake):
        pass

    async def main() -> None:
        async with Endpoint(fake.address):
            pass

    with pytest.raises(InputError, match="can't be reached; start it"):
        anyio.run(main)


@pytest.mark.parametrize("address", ["", "abc", "ftp://x/v1", "http://", "http://[", "http://a b/v1", "http://x:0/v1",
                                     f"http://{'a' * 64}.org/v1"])  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        Endpoint(address)


@pytest.mark.parametrize("key", ["se\ncret", "secrёt"])
def test_a_key_that_no_header_holds_is_not_shown(key: str) -> None:
    with pytest.raises(InputError, match=r"^the key for --llm: it holds characters that no key has; set it anew$"):
        Endpoint("http://127.0.0.1:1/v1", key=key)


@pytest.mark.parametrize(
    ("status", "raw", "said"),
    [
        (500, None, "answered 500: no room"),
        (200, b"data: {]\n\n", "doesn't speak OpenAI's API"),
        (200, b'data: {"choices": 3}\n\n', "doesn't speak OpenAI's API"),
        (200, b'data: {"choices": [{"delta": {"content": 3}}]}\n\n', "doesn't speak OpenAI's API"),
        (200, b'data: {"error": {"message": "out of\\nmemory"}}\n\n', r"failed: out of\\nmemory"),
        (200, b"", "broke its answer off"),
    ],
)
def test_what_it_says_wrong_is_one_line(status: int, raw: bytes | None, said: str) -> None:
    fake = FakeEndpoint()
    fake.status, fake.raw = status, raw
    with pytest.raises(OmniLMMError, match=said):
        complete(fake)


def test_an_answer_without_end_is_cut() -> None:
    fake = FakeEndpoint(["word " * LONGEST_ANSWER])
    assert LONGEST_ANSWER - 10 < len(complete(fake)) <= LONGEST_ANSWER


def test_the_oldest_descriptions_give_way_where_there_is_no_room() -> None:
    endpoint = Endpoint("http://127.0.0.1:1/v1")
    assert endpoint.fits([Message(Role.USER, "x" * MOST_CHARACTERS)])
    assert not endpoint.fits([Message(Role.SYSTEM, "x"), Message(Role.USER, "x" * MOST_CHARACTERS)])
