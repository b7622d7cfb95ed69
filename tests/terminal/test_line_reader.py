"""Keys, completion and history, with prompt_toolkit's own stand-in for a terminal."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.application import create_app_session
from prompt_toolkit.buffer import Buffer, CompletionState
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from omnilmm_lite.terminal.commands import COMMANDS
from omnilmm_lite.terminal.completion import ChatCompleter
from omnilmm_lite.terminal.history import PrivateHistory, open_history, state_folder
from omnilmm_lite.terminal.line_reader import TerminalLineReader, complete
from tests.systems import IS_WINDOWS, STATE_VARIABLE, not_on_windows, set_home
from tests.terminal.emulated_terminal import CTRL_C, CTRL_D, ENTER, ESCAPE, TAB, UP

PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"

Read = Callable[[str], str]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state" / "omnilmm-lite"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with pictures and other things in it."""
    folder = tmp_path / "here"
    (folder / "my pictures").mkdir(parents=True)
    for name in (
        "my pictures/black cat.jpg",
        "my pictures/dog.png",
        "my.txt",
        "ZEBRA.PNG",
        ".hidden.png",
        *([] if IS_WINDOWS else ["bell\x07.png"]),
    ):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def read() -> Iterator[Read]:
    """What the prompt makes of keys."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        prompt = TerminalLineReader()

        def press(text: str) -> str:
            keys.send_text(text)
            return prompt.read("status")

        yield press


# ---- keys ----


def test_enter_ends_a_line(read: Read) -> None:
    assert read(f"What is this?{ENTER}") == "What is this?"


def test_alt_enter_and_a_backslash_begin_another_line(read: Read) -> None:
    assert read(f"one{ESCAPE}{ENTER}two\\{ENTER}three{ENTER}") == "one\ntwo\nthree"


def test_a_backslash_elsewhere_is_a_backslash(read: Read) -> None:
    assert read(f"a\\b{ENTER}") == "a\\b"


def test_what_is_pasted_does_not_end_the_line(read: Read) -> None:
    assert read(f"{PASTE_START}one\ntwo\n{PASTE_END}three{ENTER}") == "one\ntwo\nthree"


def test_ctrl_c_and_ctrl_d_are_said(read: Read) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(f"half a question{CTRL_C}")
    with pytest.raises(EOFError):
        read(CTRL_D)


def test_up_brings_back_what_was_typed(read: Read) -> None:
    read(f"one{ESCAPE}{ENTER}two{ENTER}")
    assert read(f"{UP}{ENTER}") == "one\ntwo"


def test_tab_completes_as_far_as_it_is_certain(read: Read, pictures: Path) -> None:
    assert read(f"/im{TAB}my{TAB}d{TAB}{ENTER}") == "/image my pictures/dog.png"


def test_tab_goes_through_what_there_is(read: Read, pictures: Path) -> None:
    assert read(f"/image my pictures/{TAB}{TAB}{TAB}{ENTER}").startswith("/image my pictures/")


def test_tab_completes_what_is_certain_also_below_an_open_menu(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A menu may open on its own, when completions for an earlier letter come late."""
    monkeypatch.setattr(Buffer, "start_completion", lambda buffer: None)  # it wants a running application
    for name in ("red cat.png", "red cow.png"):
        (pictures / name).touch()
    buffer = Buffer(document=Document("/image re"))
    offered = list(ChatCompleter().get_completions(buffer.document, CompleteEvent()))
    buffer.complete_state = CompletionState(buffer.document, offered)
    complete(buffer)
    assert buffer.text == "/image red c"
    buffer.complete_state = CompletionState(buffer.document, offered)
    complete(buffer)  # nothing more is certain: now through the menu
    assert buffer.complete_state.complete_index == 0


def test_a_question_is_not_completed(read: Read, pictures: Path) -> None:
    assert read(f"my{TAB}{ENTER}") == "my"


# ---- completion ----


def completions(text: str) -> list[str]:
    """The whole lines that are offered."""
    offered = ChatCompleter().get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + item.start_position] + item.text for item in offered]


def test_commands_are_offered() -> None:
    assert completions("/") == [command.name + (" " if command.usage else "") for command in COMMANDS]
    assert completions("/re") == ["/regenerate"]
    assert completions("/nonsense ") == completions("what") == completions("/image\n") == completions("/clear ") == []


def test_pictures_and_folders_are_offered(pictures: Path) -> None:
    assert completions("/image ") == [
        "/image clipboard",
        "/image screen",
        "/image ZEBRA.PNG",
        "/image my pictures/",
    ]
    assert completions("/image z") == ["/image ZEBRA.PNG"]
    assert completions("/image .h") == ["/image .hidden.png"]
    assert completions("/image my pictures/b") == ["/image my pictures/black cat.jpg"]


def test_a_quote_is_closed_after_a_file(pictures: Path) -> None:
    assert completions("/image 'my") == ["/image 'my pictures/"]
    assert completions("/image 'my pictures/b") == ["/image 'my pictures/black cat.jpg'"]


def test_files_of_every_kind_are_offered_where_they_may_be_named(pictures: Path) -> None:
    assert completions("/load my") == ["/load my pictures/", "/load my.txt"]
    assert completions(f"/save {pictures}/my.") == [f"/save {pictures}/my.txt"]


def test_home_is_a_folder(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_home(monkeypatch, pictures)
    assert completions("/image ~/Z") == ["/image ~/ZEBRA.PNG"]


def test_settings_are_offered() -> None:
    assert completions("/set te") == ["/set temperature "]


@given(st.text(max_size=40))
def test_no_line_breaks_the_completion(text: str) -> None:
    for line in (text, f"/image {text}", f"/set {text}"):
        completions(line)


# ---- history ----


@given(entries=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1), max_size=5))
def test_history_comes_back_the_newest_first(entries: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("history") / "state" / "history"
    for entry in entries:
        PrivateHistory(path).append_string(entry)
    assert list(PrivateHistory(path).load_history_strings()) == entries[::-1]


@not_on_windows
def test_history_is_for_its_owner_alone(read: Read, state: Path) -> None:
    state.mkdir(parents=True)
    path = state / "history"
    path.touch(mode=0o644)
    read(f"a secret{ENTER}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    read(f"another{ENTER}")
    assert (stat.S_IMODE(path.stat().st_mode), "another" in path.read_text()) == (0o600, True)


def test_a_history_that_can_not_be_written_or_read_is_no_error(read: Read, state: Path) -> None:
    state.parent.mkdir()
    state.write_text("a file where the folder should be", encoding="utf-8")
    assert read(f"one{ENTER}") == "one"
    state.unlink()
    (state / "history").mkdir(parents=True)
    assert list(open_history().load_history_strings()) == []
    assert read(f"two{ENTER}") == "two"


def test_a_history_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\n+old\n\n+two\n+lines\n")
    PrivateHistory(path).append_string("new")
    assert list(PrivateHistory(path).load_history_strings()) == ["new", "two\nlines", "old"]


def test_where_history_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATE_VARIABLE, "relative")  # which its specification says counts for nothing
    set_home(monkeypatch, tmp_path)
    assert state_folder() == tmp_path / ".local" / "state" / "omnilmm-lite"

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert isinstance(open_history(), InMemoryHistory)
    assert os.environ[STATE_VARIABLE] == "relative"
