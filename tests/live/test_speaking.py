"""When answers are said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from omnilmm_lite.live.journal import Journal
from omnilmm_lite.live.stages.answering import ComingAnswer
from omnilmm_lite.live.stages.speaking import Speaking


def about_to_say(speech: Any, ears: Any) -> tuple[Speaking, MemoryObjectSendStream[str]]:
    """An answer waits to be said; where its pieces are to be sent."""
    question: Any = SimpleNamespace(ended_s=0.0, question_id=1)
    send, receive = anyio.create_memory_object_stream[str](1)
    speaking = Speaking(speech, ears, Journal())
    speaking.say(ComingAnswer(question, receive))
    return speaking, send


def test_an_answer_waits_for_who_is_in_the_middle_of_a_question() -> None:
    """Deaf ears would lose it."""
    said: list[str] = []

    class Voice:
        async def say(self, pieces: Any, began: Any) -> None:
            began()
            said.append("".join([piece async for piece in pieces]))

    class Ears:
        in_speech = True

        def speaking(self, is_speaking: bool) -> None:
            assert not (is_speaking and self.in_speech)

    async def play() -> None:
        speech: Any = Voice()
        ears: Any = Ears()
        speaking, send = about_to_say(speech, ears)
        async with anyio.create_task_group() as group:
            group.start_soon(speaking.run)
            await send.send("This is a cat.")
            send.close()
            for _ in range(5):
                await anyio.sleep(0.02)
            assert said == []
            ears.in_speech = False
            speaking.close()

    anyio.run(play)
    assert said == ["This is a cat."]


def test_who_interrupts_has_it_dropped_while_it_waits() -> None:
    async def play() -> None:
        speech: Any = SimpleNamespace()  # which has no voice: nothing may be said
        ears: Any = SimpleNamespace(in_speech=True, speaking=lambda is_speaking: None)
        speaking, send = about_to_say(speech, ears)
        async with anyio.create_task_group() as group:
            group.start_soon(speaking.run)
            await anyio.sleep(0.05)
            speaking.interrupt()
            speaking.close()
        send.close()

    anyio.run(play)


def test_what_was_interrupted_before_its_first_sound_makes_nobody_deaf() -> None:
    """Who speaks into the silence before an answer is heard: the ears were never told that it is spoken."""
    told: list[bool] = []

    async def play() -> None:
        async def say(pieces: Any, began: Any) -> None:
            await anyio.sleep_forever()  # no sentence comes

        speech: Any = SimpleNamespace(say=say)
        ears: Any = SimpleNamespace(in_speech=False, speaking=told.append)
        speaking, send = about_to_say(speech, ears)
        async with anyio.create_task_group() as group:
            group.start_soon(speaking.run)
            await anyio.wait_all_tasks_blocked()
            speaking.interrupt()
            speaking.close()
        send.close()

    anyio.run(play)
    assert told == []
