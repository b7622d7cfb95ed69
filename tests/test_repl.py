"""The interactive chat: its commands with a stand-in for the model, then the program on a terminal."""

from __future__ import annotations

import builtins
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omnilmm_lite.errors import ContextFullError, OmniLMMError
from omnilmm_lite.repl import HELP, Repl

ROOT = Path(__file__).parent.parent

Line = str | BaseException | Callable[[], str]


class FakeChat:
    """Answers with its number, its picture's size and how many questions came before."""

    def __init__(self, number: int, image: Image.Image | None, system: str | None) -> None:
        self.name = f"chat {number}, {image.size if image else None}, {system}"
        self.asked: list[str] = []
        self.options: dict[str, Any] = {}

    def stream(self, question: str, **options: Any) -> Iterator[str]:
        self.options = options
        if question == "too long":
            raise ContextFullError("the prompt has 9 tokens")
        if question == "broken":
            raise OmniLMMError("the graph failed")
        yield f"{self.name}: "
        if question == "interrupt":
            raise KeyboardInterrupt
        self.asked.append(question)
        yield f"{len(self.asked)}"


class FakeModel:
    def __init__(self) -> None:
        self.chats: list[FakeChat] = []

    def chat(self, image: Image.Image | None, system: str | None) -> FakeChat:
        self.chats.append(FakeChat(len(self.chats), image, system))
        return self.chats[-1]


Play = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Play:
    """Types lines at a chat; the lines on stdout and on stderr."""

    def type_lines(*lines: Line, image: Image.Image | None = None) -> tuple[list[str], list[str]]:
        left = iter([*lines, EOFError()])

        def read(prompt: str) -> str:
            line = next(left)
            if isinstance(line, BaseException):
                raise line
            return line if isinstance(line, str) else line()

        monkeypatch.setattr(builtins, "input", read)
        model: Any = FakeModel()
        Repl(model, image, "Be brief.", {"top_k": 3}).run()
        assert all(chat.options in ({}, {"top_k": 3}) for chat in model.chats)
        captured = capsys.readouterr()
        return captured.out.splitlines(), captured.err.splitlines()[1:]  # the greeting comes first

    return type_lines


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(path)
    return path


def test_questions_are_answered_until_the_end_of_the_input(play: Play) -> None:
    out, err = play("one", "", "  ", "two")
    assert out == ["chat 0, None, Be brief.: 1", "chat 0, None, Be brief.: 2"]
    assert err == [""]  # the line after Ctrl-D


def test_quit_ends_it(play: Play) -> None:
    assert play("one", " /quit ", "two") == (["chat 0, None, Be brief.: 1"], [])


def test_clear_begins_anew_with_the_same_picture(play: Play) -> None:
    out, _ = play("one", "/clear", "two", image=Image.new("RGB", (5, 4)))
    assert out == ["chat 0, (5, 4), Be brief.: 1", "chat 1, (5, 4), Be brief.: 1"]


def test_image_begins_anew_with_another_picture_which_clear_keeps(play: Play, picture: Path) -> None:
    def clear_when_the_file_is_gone() -> str:
        picture.unlink()
        return "/clear"

    out, _ = play("one", f"/image {picture} ", "two", clear_when_the_file_is_gone, "three")
    assert out == ["chat 0, None, Be brief.: 1", "chat 1, (3, 2), Be brief.: 1", "chat 2, (3, 2), Be brief.: 1"]


@pytest.mark.parametrize("line", ["/image", "/image nowhere.png", "/nonsense", "too long", "broken"])
def test_what_can_not_be_is_said_and_the_conversation_goes_on(play: Play, line: str) -> None:
    out, err = play("one", line, "two")
    assert out == ["chat 0, None, Be brief.: 1", "chat 0, None, Be brief.: 2"]
    assert len(err) == 2
    assert err[0]


def test_an_interrupt_stops_the_answer_only(play: Play) -> None:
    out, err = play("one", "interrupt", "two")
    assert out == ["chat 0, None, Be brief.: 1", "chat 0, None, Be brief.: ", "chat 0, None, Be brief.: 2"]
    assert err[0].strip() == "[stopped]"


def test_an_interrupt_at_the_prompt_says_how_to_leave(play: Play) -> None:
    out, err = play(KeyboardInterrupt(), "one")
    assert out == ["chat 0, None, Be brief.: 1"]
    assert "/quit or Ctrl-D leaves" in err


def test_a_line_that_is_no_text_is_asked_for_again(play: Play) -> None:
    out, err = play(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "one")
    assert out == ["chat 0, None, Be brief.: 1"]
    assert "not UTF-8" in err[0]


def test_help_names_every_command(play: Play) -> None:
    out, err = play("/help")
    assert out == []
    assert err[:-1] == HELP.splitlines()


# ---- on a terminal ----

DEADLINE_S = 60  # for a program that hangs; a busy machine is no failure


class Terminal:
    """A program on a terminal of its own, where Ctrl-C is a key."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background ignores it
            plain = os.environ | {"TERM": "dumb"}  # readline prints no codes
            os.execve(sys.executable, [sys.executable, *arguments], plain)
        self._unread = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def read_until(self, expected: str) -> str:
        """What the program printed up to and with `expected`."""
        self._read_while(lambda unread: expected not in unread, expected)
        end = self._unread.index(expected) + len(expected)
        seen, self._unread = self._unread[:end], self._unread[end:]
        return seen

    def read_some(self, characters: int) -> None:
        """Waits for that much to be printed; the end of a line alone is what the terminal itself may print."""
        self._read_while(lambda unread: len(unread) < characters, f"{characters} characters")

    def _read_while(self, missing: Callable[[str], bool], expected: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while missing(self._unread):
            ready, _, _ = select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waited for {expected!r}, got {self._unread!r}"
            try:
                self._unread += os.read(self._terminal, 65536).decode(errors="replace")
            except OSError:  # what Linux says when the program has ended
                pytest.fail(f"ended before {expected!r}: {self._unread!r}")

    def exit_code(self) -> int:
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._terminal)
        return code


def test_a_conversation_on_a_terminal(tiny_bundle: Path, picture: Path) -> None:
    options = ["--model", str(tiny_bundle), "--threads", "1", "--greedy", "--max-new-tokens", "3000"]
    terminal = Terminal("cli.py", "run", *options)
    terminal.read_until("> ")
    terminal.type("Tell me all.\n")
    terminal.read_until("Tell me all.\r\n")  # the echo
    terminal.read_some(40)  # the answer is under way
    terminal.type("\x03")
    terminal.read_until("[stopped]")
    terminal.read_until("> ")
    terminal.type("\x03")
    terminal.read_until("/quit or Ctrl-D leaves")
    terminal.read_until("> ")
    terminal.type("/image nowhere.png\n")
    terminal.read_until("nowhere.png: there is no such file")
    terminal.read_until("> ")
    terminal.type(f"/image {picture}\n")
    terminal.read_until("> ")
    terminal.type("/clear\n")
    terminal.read_until("> ")
    terminal.type("/quit\n")
    assert terminal.exit_code() == 0
