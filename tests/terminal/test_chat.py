"""The program on a terminal, as a person meets it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.systems import not_on_windows, open_terminal
from tests.terminal.emulated_terminal import CTRL_C, CTRL_D, ENTER, ESCAPE, TAB, UP, EmulatedTerminal

pytestmark = not_on_windows

PICTURES = ROOT / "examples" / "pictures"
PROGRAM = [sys.executable, str(ROOT / "cli.py"), "run", "--threads", "1"]
READY = "tokens · /help"  # stands below the prompt: keys are read from now on

# The built-in model with a tower that takes a minute, and hears an interrupt as a graph does.
SLOW_TOWER = """
import sys, threading
sys.path.insert(0, {root!r})
import cli
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.engine.vision import VisionEncoder

def encode(encoder, pixels):
    ended = threading.Event()
    with ended_by(ended.set):
        ended.wait(60)
        raise OmniLMMError("the graph was ended")

VisionEncoder._run = encode
sys.exit(cli.main(sys.argv[1:]))
"""

Start = Callable[..., EmulatedTerminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the chat in examples/pictures, with a history of its own."""
    started: list[EmulatedTerminal] = []

    def run(*arguments: str, program: list[str] = PROGRAM, term: str = "xterm-256color") -> EmulatedTerminal:
        env = {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
        started.append(EmulatedTerminal([*program, *arguments], cwd=PICTURES, env=env, term=term))
        return started[-1]

    yield run
    for terminal in started:
        terminal.kill()


def slow_tower(tmp_path: Path) -> list[str]:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_TOWER.format(root=str(ROOT)))
    return [sys.executable, str(script), "run"]


def endless(bundle: Path) -> list[str]:
    """Options of a model that rambles for many seconds."""
    return ["--model", str(bundle), "--greedy", "--max-new-tokens", "3000"]


def colours(terminal: EmulatedTerminal) -> set[str]:
    """Of the half blocks on the screen."""
    cells = [cell for row in terminal.screen.buffer.values() for cell in row.values()]
    return {cell.fg for cell in cells if cell.data == "▀"}


def says_stopped(text: str) -> bool:
    """The answer may end anywhere in the screen's line."""
    return "[stopped]" in text.replace("\n", "")


def test_a_conversation(start: Start) -> None:
    terminal = start("cat.png", "--greedy")
    terminal.wait_for(READY)
    assert len(colours(terminal)) > 20  # the cat is there to be seen
    terminal.type("What is this?", ENTER)
    terminal.wait_for("\nThis is a cat.\n\n>")
    terminal.type("/image eas", TAB, "t", TAB, ENTER)
    terminal.wait_for("a new conversation begins")
    terminal.type("is there a triangle?", ENTER)
    terminal.wait_for("\nno\n")
    terminal.type("/regenerate", ENTER)
    terminal.wait_for(lambda text: text.count("\nno\n") == 2)
    terminal.type(f"'{PICTURES / 'cat.png'}' ", ENTER)  # as terminals write what is dropped on them
    terminal.wait_for("cat.png, 448 × 448, remembered")  # noqa: RUF001  # the sign for it
    terminal.type("/info", ENTER)
    terminal.wait_for("0 of 2048 tokens used")
    terminal.type("/quit", ENTER)
    assert terminal.exit_code() == 0


def test_paths_and_questions_as_people_type_and_drop_them(start: Start, tmp_path: Path) -> None:
    circle = tmp_path / "my circle.png"
    circle.write_bytes((PICTURES / "easy-vqa-teal-circle.png").read_bytes())
    escaped = str(circle).replace(" ", "\\ ")
    terminal = start("--greedy")
    for line, shown in (
        ("cat.png What is this?", "\nThis is a cat.\n"),
        (f"'{circle}' is there a triangle?", " s: a new conversation begins\nno\n"),
        (f"is there a circle? {circle.as_uri()}", "still about my circle.png\nyes\n"),
        (f"{escaped} ", "my circle.png, 64 × 64, remembered: a new conversation begins"),  # noqa: RUF001
        ("./im/cat.web what is this?", "im/cat.web: there is no such file"),
        ("/exot", "/exot: there is no such command, perhaps /export"),
        ("cat.png 'my circle.png'", "a conversation is about one picture"),
    ):
        terminal.wait_for(READY)
        terminal.type(line, ENTER)
        terminal.wait_for(shown)
    terminal.wait_for(READY)
    terminal.type("bye", ENTER)
    assert terminal.exit_code() == 0


def test_a_conversation_is_taken_up_again(start: Start) -> None:
    terminal = start("cat.png", "--greedy")
    terminal.wait_for(READY)
    terminal.type("What is this?", ENTER)
    terminal.wait_for("\nThis is a cat.\n\n>")
    terminal.type("/exit", ENTER)
    terminal.wait_for("kept: `omnilmm-lite run --continue` goes on with it")
    assert terminal.exit_code() == 0
    again = start("--continue", "--greedy")
    text = again.wait_for(READY)
    assert "going on with the conversation of 20" in text
    assert "> What is this?\nThis is a cat.\n" in text
    assert "loaded 1 question and its answer about cat.png" in text
    again.type("/undo", ENTER)
    again.wait_for("taken back: What is this?; the conversation begins anew")
    again.wait_for(READY)  # before it, Ctrl-D would be the system's
    again.type(CTRL_D)
    assert again.exit_code() == 0
    assert "kept:" not in again.text


def test_several_lines_and_history_over_two_chats(start: Start) -> None:
    terminal = start("--greedy")
    terminal.wait_for(READY)
    terminal.type("What can", ESCAPE + ENTER, "you do?", ENTER)
    terminal.wait_for(". you do?\n")
    terminal.wait_for(lambda text: text.count(">") == 2)
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0
    again = start("--greedy")
    again.wait_for(READY)
    again.type(UP)
    again.wait_for("> What can\n. you do?")


def test_ctrl_c_stops_an_answer_and_twice_leaves(start: Start, tiny_bundle: Path) -> None:
    terminal = start(*endless(tiny_bundle))
    terminal.wait_for(READY)
    terminal.type("Tell me all.", ENTER)
    terminal.wait_for(lambda text: len(text.partition("Tell me all.\n")[2].strip()) > 40)  # the answer is under way
    terminal.type(CTRL_C)
    terminal.wait_for(says_stopped)
    terminal.wait_for(READY)
    terminal.type("/nonsense", ENTER)
    terminal.wait_for("there is no such command")
    terminal.wait_for(READY)
    terminal.type(CTRL_C, CTRL_C)
    assert terminal.exit_code() == 0


def test_one_ctrl_c_more_than_it_takes_is_no_crash(start: Start) -> None:
    terminal = start()
    terminal.wait_for(READY)
    terminal.type(CTRL_C)
    terminal.wait_for("once more leaves")
    terminal.wait_for(READY)
    terminal.type(CTRL_C)
    time.sleep(0.05)  # while the program is ending
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 0


def test_a_picture_that_takes_long_shows_it_and_hears_ctrl_c(start: Start, tmp_path: Path) -> None:
    terminal = start(program=slow_tower(tmp_path))
    terminal.wait_for(READY)
    terminal.type("/image cat.png", ENTER)
    terminal.wait_for("looking at the picture 1 s")
    terminal.type(CTRL_C)
    text = terminal.wait_for("[stopped]")
    assert "looking at" not in text  # the line has erased itself
    terminal.wait_for(READY)
    terminal.type("What can you do?", ENTER)  # the model is as good as new
    terminal.wait_for(lambda text: text.count(">") == 3)
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0


def test_ctrl_c_ends_a_single_answer_while_its_picture_is_looked_at(start: Start, tmp_path: Path) -> None:
    terminal = start("cat.png", "-p", "What is this?", program=slow_tower(tmp_path))
    terminal.wait_for("looking at the picture 1 s")
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 130
    assert "looking at" not in terminal.text
    assert "Traceback" not in terminal.text


def test_a_dumb_terminal_gets_no_escape_codes(start: Start) -> None:
    terminal = start("cat.png", "--greedy", term="dumb")
    terminal.wait_for("lists the commands.\n>")
    terminal.type("What is\\", ENTER, "this?", ENTER)
    terminal.wait_for("at the top.\n>")
    terminal.type("/image nowhere.png", ENTER)
    terminal.wait_for("nowhere.png: there is no such file")
    terminal.type("/help", ENTER)
    terminal.wait_for("/quit")
    terminal.type(f"{PICTURES}/easy-vqa-teal-circle.png", ENTER)
    terminal.wait_for("a new conversation begins\n>")
    terminal.type(CTRL_C)
    terminal.wait_for("once more leaves")
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 0
    assert b"\x1b" not in terminal.output


def test_a_dumb_terminal_stops_answers_too(start: Start, tiny_bundle: Path) -> None:
    terminal = start(*endless(tiny_bundle), term="dumb")
    terminal.wait_for("lists the commands.\n>")
    terminal.type("Tell me all.", ENTER)
    terminal.wait_for(lambda text: len(text.partition("Tell me all.\n")[2].strip()) > 40)
    terminal.type(CTRL_C)
    terminal.wait_for(says_stopped)
    terminal.type("/quit", ENTER)
    assert terminal.exit_code() == 0
    assert b"\x1b" not in terminal.output


def test_a_pipe_asks_one_question() -> None:
    done = subprocess.run(
        [*PROGRAM, "--greedy", "cat.png"], cwd=PICTURES, input="What is this?\n", capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "This is a cat.\n", 1)
    assert done.stderr.startswith("answered by tiny")


def test_answers_may_go_to_a_file(tmp_path: Path) -> None:
    """Somebody types at a terminal, and keeps what is answered: nothing else is in the file."""
    keys, terminal = open_terminal()
    with (tmp_path / "answers.txt").open("wb") as out:
        program = subprocess.Popen(
            [*PROGRAM, "--greedy", "cat.png"], cwd=PICTURES, stdin=terminal, stdout=out, stderr=subprocess.PIPE
        )
    os.write(keys, b"What is this?\n/info\n/quit\n")
    _, err = program.communicate(timeout=60)
    os.close(keys)
    os.close(terminal)
    assert (program.returncode, (tmp_path / "answers.txt").read_text()) == (0, "This is a cat.\n")
    assert b"\x1b" not in err


def test_no_colour_is_wanted_and_none_is_used(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    terminal = EmulatedTerminal(["/usr/bin/env", "NO_COLOR=1", *PROGRAM, "cat.png"], cwd=PICTURES, env=env)
    try:
        terminal.wait_for(READY)
        assert colours(terminal) == set()
        terminal.type(CTRL_D)
        assert terminal.exit_code() == 0
    finally:
        terminal.kill()
