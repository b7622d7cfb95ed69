# ruff: noqa: RUF001  # full-width punctuation is what is tested
"""Lines break between words, at the terminal's width, however the answer comes in pieces."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from omnilmm_lite.terminal.screen import Screen
from omnilmm_lite.terminal.wrapping import WordWrap, width_of, wrapped
from tests.paths import ROOT
from tests.systems import not_on_windows
from tests.terminal.emulated_terminal import ENTER, EmulatedTerminal

words = st.text("abcdeé-'.,", min_size=1, max_size=12)
gaps = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", " \n "])
texts = st.lists(st.tuples(words, gaps), max_size=20).map(lambda parts: "".join(word + gap for word, gap in parts))


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("measured red", 10, ["measured", "red"]),
        ("measured red", 12, ["measured red"]),
        ("measured red", 11, ["measured", "red"]),
        ("one\n\n  two three", 8, ["one", "", "  two", "three"]),
        ("a  b", 2, ["a", "b"]),
        ("see averyverylongword then", 8, ["see", "averyverylongword", "then"]),
        ("10\u00a0km away", 9, ["10\u00a0km", "away"]),
        ("这是一只猫，在草地上。", 8, ["这是一只", "猫，在草", "地上。"]),
        ("（这是）猫", 6, ["（这", "是）猫"]),
        ("a猫b猫", 3, ["a猫", "b猫"]),
        ("Größe é", 5, ["Größe", "é"]),
        ("👨‍👩‍👧 here", 6, ["👨‍👩‍👧", "here"]),
    ],
)
def test_where_lines_break(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width).split("\n") == lines


@given(text=texts | st.text(max_size=60), width=st.integers(1, 40), cuts=st.lists(st.integers(0, 60)))
def test_pieces_make_no_difference(text: str, width: int, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    wrap = WordWrap(lambda: width)
    shown = "".join(wrap.add(text[begin:end]) for begin, end in itertools.pairwise(places))
    assert shown + wrap.rest() == wrapped(text, width)


@given(text=texts, width=st.integers(12, 40))
def test_a_terminal_shows_every_word_whole(text: str, width: int) -> None:
    screen = pyte.Screen(width + 1, 200)
    pyte.Stream(screen).feed(wrapped(text, width).replace("\n", "\r\n"))
    rows = [row.rstrip() for row in screen.display]
    assert [word for row in rows for word in row.split()] == text.split()
    assert all(cell_len(row) <= width for row in rows)


@given(text=texts, width=st.integers(1, 11))
def test_words_longer_than_a_line_are_all_that_is_cut(text: str, width: int) -> None:
    screen = pyte.Screen(width + 1, 400)
    pyte.Stream(screen).feed(wrapped(text, width).replace("\n", "\r\n"))
    pieces = [piece for row in screen.display for piece in row.split()]
    assert "".join(pieces) == "".join(text.split())
    short = [word for word in text.split() if len(word) <= width]
    assert not Counter(short) - Counter(pieces)


@given(st.text(max_size=60))
def test_without_a_width_nothing_changes_and_nothing_waits(text: str) -> None:
    wrap = WordWrap(lambda: None)
    assert (wrap.add(text), wrap.rest()) == (text, "")


def test_a_line_takes_what_follows_only_where_there_is_room() -> None:
    wrap = WordWrap(lambda: 10)
    assert wrap.add("one two") + wrap.rest() == "one two"
    assert [wrap.room_for(3), wrap.room_for(4), wrap.room_for(4)] == ["", "\n", ""]


def test_a_file_has_no_width(tmp_path: Path) -> None:
    with (tmp_path / "answers.txt").open("w") as file:
        assert width_of(file) is None
    assert width_of(file) is width_of(None) is None


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (None, ["/set NAME  how answers are drawn", "/quit      leave"]),
        (30, ["/set NAME  how answers are", "           drawn", "/quit      leave"]),
        (20, ["/set NAME", "    how answers are", "    drawn", "/quit", "    leave"]),
        (8, ["/set NAME", "how", "answers", "are", "drawn", "/quit", "leave"]),
        (3, ["/set NAME", "how", "answers", "are", "drawn", "/quit", "leave"]),
        (1, ["/set NAME", "how", "answers", "are", "drawn", "/quit", "leave"]),
    ],
)
def test_two_columns_stand_below_each_other_where_there_is_no_room(
    columns: int | None, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("omnilmm_lite.terminal.screen.width_of", lambda stream: columns)
    Screen(plain=False).rows([("/set NAME", "how answers are drawn"), ("/quit", "leave")])
    assert capsys.readouterr().err.splitlines() == lines


# ---- on a terminal ----

SENTENCE = "The picture shows a measured red circle, and beside it 一只猫在草地上睡觉。 Nothing else is there. "
SPEAKER = """
import sys, time
sys.path.insert(0, {root!r})
import cli
from omnilmm_lite.chat import Chat

def follow(chat, question, answer):
    for letter in {text!r}:
        answer.text += letter
        yield letter
    chat.messages += [{{"role": "user", "content": question}}, {{"role": "assistant", "content": answer.text}}]

Chat.follow = follow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[EmulatedTerminal]:
    """A chat that always answers the same, and long."""
    script = tmp_path / "speaker.py"
    script.write_text(SPEAKER.format(root=str(ROOT), text=SENTENCE * 2), encoding="utf-8")
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, str(script), "run", "--threads", "1", "--model", "tiny"]
    terminal = EmulatedTerminal(argv, cwd=tmp_path, env=env, columns=37)
    yield terminal
    terminal.kill()


def said(terminal: EmulatedTerminal, question: str) -> list[str]:
    """The answer's lines on the screen."""
    shown = [line.rstrip() for line in terminal.text.split("\n")]
    begin = len(shown) - 1 - shown[::-1].index(f"> {question}") + 1
    return shown[begin : shown.index("", begin)]


@not_on_windows
def test_answers_wrap_on_a_terminal_and_when_it_gets_narrower(terminal: EmulatedTerminal) -> None:
    terminal.wait_for("\n>")
    terminal.wait_for("no picture")  # stands below the prompt
    for question, columns in (("Wide?", 37), ("Narrow?", 23)):
        terminal.resize(columns)
        terminal.type(question, ENTER)
        terminal.wait_for(f"> {question}\n")
        terminal.wait_for(lambda text, asked=question: "\n\n>" in text.partition(f"> {asked}\n")[2])  # type: ignore[misc]
        lines = said(terminal, question)
        assert len(lines) > 4
        assert all(cell_len(line) < columns for line in lines)
        assert wrapped(SENTENCE * 2, columns - 1).rstrip().split("\n") == lines
