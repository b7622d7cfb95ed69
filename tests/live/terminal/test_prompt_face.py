"""The prompt under a session's timeline."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_input
from prompt_toolkit.output import DummyOutput

from omnilmm_lite.live.broadcast import Broadcast
from omnilmm_lite.live.events import AnswerPiece, QuestionAsked, Summarised
from omnilmm_lite.live.terminal.prompt_face import MARK, PromptFace
from tests.live.sessions import LONGEST_S
from tests.systems import not_on_windows, open_terminal

ENTER, CTRL_C, CTRL_D = "\r", "\x03", "\x04"


class Screen(DummyOutput):
    """Does something at the moment that its cue is printed; each once, one after the other."""

    def __init__(self, *script: tuple[str, Callable[[], object]]) -> None:
        self._script = list(script)

    def write(self, data: str) -> None:
        if self._script and self._script[0][0] in data:
            self._script.pop(0)[1]()


class Session:
    """What the face has of one. `then` is typed while it takes a question."""

    def __init__(self, person: Person, then: str = "") -> None:
        self.broadcast = Broadcast()
        self.asked: list[str] = []
        self.ended_by = ""
        self._person, self._then = person, then

    def ask(self, text: str) -> None:
        self.asked.append(text)
        self._person.type(self._then)

    def close(self) -> None:
        self.ended_by = "close"
        self.broadcast.end()

    def stop(self) -> None:
        self.ended_by = "stop"
        self.broadcast.end()


class Person:
    """At a terminal, until the block ends."""

    def __enter__(self) -> Person:
        self._keys, self._end = open_terminal()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._keys)
        os.close(self._end)

    def type(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def play(self, session: Any, screen: Screen) -> None:
        """Until the session has ended."""

        async def main() -> None:
            with anyio.fail_after(LONGEST_S):
                await PromptFace().listen(session, session.broadcast.subscribe())

        with os.fdopen(os.dup(self._end)) as stdin, create_app_session(input=create_input(stdin), output=screen):
            anyio.run(main)


@not_on_windows
@pytest.mark.parametrize(("key", "ended_by"), [(CTRL_D, "close"), (CTRL_C, "stop")])
def test_a_key_right_behind_a_question_is_not_lost(key: str, ended_by: str) -> None:
    with Person() as person:
        session = Session(person, then=key)
        person.play(session, Screen((MARK[0], lambda: person.type(f"What is this?{ENTER}"))))
    assert (session.asked, session.ended_by) == (["What is this?"], ended_by)


@not_on_windows
def test_a_key_typed_while_a_line_is_printed_is_not_lost() -> None:
    with Person() as person:
        session = Session(person)
        happens = session.broadcast.tell
        person.play(
            session,
            Screen(
                (MARK[0], lambda: happens(Summarised(1.0, "a red circle"))),
                ("a red circle", lambda: person.type(CTRL_D)),
            ),
        )
    assert session.ended_by == "close"


def test_a_question_that_waits_takes_nothing_of_the_answer_under_way() -> None:
    face = PromptFace()
    for event in (AnswerPiece(1.0, 1, "It is "), QuestionAsked(1.1, 2, "And now?", False), AnswerPiece(1.2, 1, "red.")):
        face._show(event)
    assert ("class:answer", "It is red.\n") in face._toolbar()
