"""Listeners: a slow one costs no memory and loses nothing that matters."""

from __future__ import annotations

import anyio
from PIL import Image

from omnilmm_lite.live.broadcast import MOST_FRAMES, MOST_PICTURES, Broadcast, Subscription
from omnilmm_lite.live.events import AnswerPiece, Event, FrameDescribed, SourceEnded, Status, StatusChanged

PICTURE = Image.new("RGB", (2, 2))


def described(number: int) -> FrameDescribed:
    return FrameDescribed(number, number, "", "", number, 0.0, b"jpeg", PICTURE)


def status(captured: int) -> StatusChanged:
    return StatusChanged(captured, Status(0.0, captured, 0, 0, 0, 0))


async def rest(events: Subscription) -> list[Event]:
    return [each async for each in events]


def after(*told: Event) -> list[Event]:
    """What a listener gets that began to take only then."""

    async def main() -> list[Event]:
        broadcast = Broadcast()
        with broadcast.subscribe() as events:
            for event in told:
                broadcast.tell(event)
            broadcast.end()
            return await rest(events)

    return anyio.run(main)


def test_all_that_waits_is_given_in_order_and_then_the_stream_ends() -> None:
    told: list[Event] = [described(1), AnswerPiece(1, 1, "a"), SourceEnded(2)]
    assert after(*told) == told


def test_only_the_newest_status_waits() -> None:
    assert after(status(1), described(1), status(2), SourceEnded(3), status(3)) == [
        described(1), SourceEnded(3), status(3)
    ]  # fmt: skip


def test_pieces_of_one_answer_are_joined() -> None:
    pieces = (AnswerPiece(1, 1, "a"), AnswerPiece(2, 1, "b"), AnswerPiece(3, 2, "c"))
    assert after(*pieces) == [AnswerPiece(1, 1, "ab"), AnswerPiece(3, 2, "c")]


def test_old_pictures_and_very_old_frames_give_way() -> None:
    found = after(SourceEnded(0), *map(described, range(MOST_FRAMES + 50)))
    assert found[0] == SourceEnded(0)
    frames = [each for each in found if isinstance(each, FrameDescribed)]
    assert [each.frame for each in frames] == list(range(50, MOST_FRAMES + 50))
    assert [each.picture is PICTURE for each in frames] == [False] * (MOST_FRAMES - MOST_PICTURES) + [True] * 4


def test_a_listener_hears_nothing_of_before_and_nothing_once_it_is_closed() -> None:
    async def main() -> None:
        broadcast = Broadcast()
        broadcast.tell(SourceEnded(1))
        with broadcast.subscribe() as events, broadcast.subscribe() as other:
            broadcast.tell(SourceEnded(2))
            events.close()
            broadcast.tell(SourceEnded(3))
            broadcast.end()
            assert await rest(events) == []
            assert await rest(other) == [SourceEnded(2), SourceEnded(3)]
        assert await rest(broadcast.subscribe()) == []  # the session has ended

    anyio.run(main)


def test_a_listener_that_waits_is_woken() -> None:
    async def main() -> list[Event]:
        broadcast, found = Broadcast(), list[Event]()

        async def take(events: Subscription) -> None:
            found.extend(await rest(events))

        async with anyio.create_task_group() as group:
            group.start_soon(take, broadcast.subscribe())
            await anyio.sleep(0.01)
            broadcast.tell(SourceEnded(1))
            await anyio.sleep(0.01)
            broadcast.end()
        return found

    assert anyio.run(main) == [SourceEnded(1)]
