"""A chat that is played without a terminal: lines go in, and what was shown comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omnilmm_lite.model import Model
from omnilmm_lite.terminal.session import Session
from tests.paths import ROOT

PICTURES = ROOT / "examples" / "pictures"
CAT, CIRCLE = PICTURES / "cat.png", PICTURES / "easy-vqa-teal-circle.png"
WHAT, TRIANGLE = "What is this?", "is there a triangle?"

Line = str | BaseException


class Keyboard:
    """Gives lines, or raises what a terminal would."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = iter([*lines, EOFError()])
        self.statuses: list[str] = []

    def read(self, status: str) -> str:
        self.statuses.append(status)
        line = next(self._lines)
        if isinstance(line, BaseException):
            raise line
        return line


class Played:
    def __init__(self, session: Session, keyboard: Keyboard, out: str, err: str) -> None:
        self.session, self.statuses = session, keyboard.statuses
        self.out, self.err = out.splitlines(), err


Play = Callable[..., Played]


def answers(model: Model, picture: Path | None, *questions: str, system: str | None = None) -> list[str]:
    """What the Python API answers, one conversation."""
    chat = model.chat(picture, system)
    return [chat.ask(question, greedy=True) for question in questions]
