"""What `run` takes its words for: pictures, the question, standard input."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omnilmm_lite.picture import file as picture_file
from omnilmm_lite.terminal.chats.kept import newest_kept
from tests.command_line import Run, refused, runner
from tests.paths import ROOT
from tests.systems import STATE_VARIABLE, not_on_windows

PICTURES = ROOT / "examples" / "pictures"
CAT, CIRCLE = PICTURES / "cat.png", PICTURES / "easy-vqa-teal-circle.png"
GREEDY = ("--greedy", "--model", "tiny")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(PICTURES)
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    return runner(capsys, monkeypatch)


def piped(data: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ["cat.png", "What", "is", "this?"],
        ["cat.png", "What is this?"],
        ["What", "is", "this?", "cat.png"],
        ["What is this? cat.png"],
        [f"What is this? '{CAT}'"],
        ["What is this?", "./cat.png"],
        [CAT.as_uri(), "What", "is this?"],
        ["cat.png", "--greedy", "What", "is", "this?"],
        ["--greedy", "cat.png", "--model", "tiny", "What", "--threads", "1", "is", "this?"],
        ["--greedy", "What", "--model", "tiny", "is", "this?", "--threads", "1", "cat.png"],
    ],
)
def test_words_behind_the_picture_are_the_question(run: Run, words: list[str]) -> None:
    stdin = io.StringIO("not for you")
    assert run("run", *words, *GREEDY, stdin=stdin).out == "This is a cat.\n"
    assert stdin.tell() == 0


def test_an_option_that_is_none_is_no_word(run: Run) -> None:
    for words in (["--gredy", "What"], ["--greedy", "What", "-x"]):
        with pytest.raises(SystemExit):
            run("run", "cat.png", *words)
    assert (
        run("run", "cat.png", *GREEDY, "--", "What", "is", "-this?").out
        == run("run", "cat.png", "-p", "What is -this?", *GREEDY).out
    )


@not_on_windows
def test_a_name_that_the_shell_gives_is_taken_as_it_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CIRCLE, "a.png")
    assert "this file can't be read" in refused(run("run", "n" * 300 + ".png", "What", *GREEDY))
    assert run("run", "n" * 300, "What", *GREEDY).code == 0
    for name in ("a.png ", "two\nlines.png", "'a.png'", "a%20b.png", "file:a.png", "-"):
        shutil.copy(CAT, name)
        given = "./-" if name == "-" else name
        for words in (["What", "is", "this?"], ["-p", "What is this?"]):
            assert run("run", given, *words, *GREEDY).out == "This is a cat.\n", name


def test_words_without_a_picture_are_a_question(run: Run) -> None:
    words, prompt = run("run", "What", "can", "you", "do?", *GREEDY), run("run", "-p", "What can you do?", *GREEDY)
    assert words.out == prompt.out != ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["catt", "-p", "What is this?"], "catt: there is no such file"),
        (["nope.png", "What", "is", "this?"], "nope.png: there is no such file"),
        (["What is this? ./nope.png"], "nope.png: there is no such file"),
        (["cat.png", "What", "-p", "What is this?"], "What: there is no such file"),
        (["http://example.org/cat.png", "What", "is", "this?"], "pictures are not fetched from the network"),
        (["--continue", "cat.png"], "--continue: it takes up a conversation as it was; leave cat.png out"),
        (["--continue", "-p", "What is this?"], "leave -p out"),
        (["--continue", "--system", "Be brief."], "leave --system out"),
        (["--continue"], "--continue: a conversation needs a terminal"),
    ],
)
def test_what_is_neither_is_named(run: Run, words: list[str], message: str) -> None:
    assert message in refused(run("run", *words, *GREEDY, stdin=piped(b"")))


def test_a_word_alone_is_rather_a_mistyped_name(run: Run) -> None:
    assert "catt: there is no such file" in refused(run("run", "catt", *GREEDY, stdin=piped(b"What is this?")))


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_a_picture_on_standard_input(run: Run, name: str) -> None:
    for words in (["What", "is", "this?"], ["-p", "What is this?"]):
        assert run("run", name, *words, *GREEDY, stdin=piped(CAT.read_bytes())).out == "This is a cat.\n"
    both = run("run", str(CIRCLE), name, "-p", "What is this?", *GREEDY, stdin=piped(CAT.read_bytes()))
    assert both.out.splitlines()[1] == "standard input: This is a cat."


@pytest.mark.parametrize(
    ("data", "words", "message"),
    [
        (b"", ["What", "is", "this?"], "standard input: the file is empty"),
        (b"no picture at all", ["What is this?"], "standard input: this is "),
        (b"\x89PNG\r\n\x1a\n", ["-p", "What is this?"], "standard input: "),
        (b"x" * 101, ["-p", "What is this?"], "standard input: it holds more than"),
        (b"", [], "-: standard input holds one picture and no question: give that behind it or after -p"),
        (b"", ["-", "-p", "What is this?"], "-: standard input holds one picture"),
    ],
)
def test_what_is_no_picture_on_standard_input(
    run: Run, monkeypatch: pytest.MonkeyPatch, data: bytes, words: list[str], message: str
) -> None:
    monkeypatch.setattr(picture_file, "MAX_FILE_BYTES", 100)
    assert message in refused(run("run", "-", *words, *GREEDY, stdin=piped(data)))


def test_a_closed_or_typed_standard_input_is_no_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = piped(b"")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    assert "standard input: no picture comes there" in refused(run("run", "-", "-p", "What?", *GREEDY, stdin=terminal))


@not_on_windows
def test_a_pipe_of_the_shell() -> None:
    command = [sys.executable, str(ROOT / "cli.py"), "run", "-", "What", "is", "this?", *GREEDY]
    with CAT.open("rb") as picture:
        done = subprocess.run(command, stdin=picture, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"This is a cat.\n")


def test_single_questions_are_not_kept(run: Run) -> None:
    run("run", "cat.png", "What", "is", "this?", *GREEDY)
    with pytest.raises(Exception, match="no conversation is kept yet"):
        newest_kept()
