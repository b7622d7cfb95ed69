"""Conversations that are undone, exported, kept and gone on with; and lines that name a picture and ask at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.terminal.chats.kept import KEPT, KeptChat, newest_kept
from omnilmm_lite.terminal.chats.markdown import as_markdown
from omnilmm_lite.terminal.chats.transcript import Transcript, Turn, read_transcript
from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener
from tests.systems import IS_WINDOWS, STATE_VARIABLE, not_on_windows
from tests.terminal.played import CAT, CIRCLE, TRIANGLE, WHAT, Play, answers

ONE = Transcript("tiny", None, None, SamplingParams(), (Turn("Why?", "So."),))


@pytest.fixture(autouse=True)
def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where conversations are kept."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state" / "omnilmm-lite" / "chats"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two pictures."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "my circle.png").write_bytes(CIRCLE.read_bytes())
    (folder / "cat.png").write_bytes(CAT.read_bytes())
    monkeypatch.chdir(folder)
    return folder


# ---- a picture and a question in one line ----


def test_a_question_is_about_the_picture_in_its_line(play: Play, tiny: Model, here: Path) -> None:
    played = play(f"my circle.png {TRIANGLE}", f"{WHAT} '{here / 'cat.png'}'", picture=CIRCLE)
    assert played.out == [*answers(tiny, CIRCLE, TRIANGLE), *answers(tiny, CAT, WHAT)]
    assert "cat.png, 448" in played.err


def test_the_same_picture_again_goes_on_with_the_conversation(play: Play, tiny: Model, here: Path) -> None:
    played = play(f"cat.png {WHAT}", "cat.png What colour is it?")
    assert played.out == answers(tiny, CAT, WHAT, "What colour is it?")
    assert "still about cat.png" in played.err
    dropped = play("cat.png", session=played.session)
    assert "a new conversation begins" in dropped.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"nope.png {WHAT}", "nope.png: there is no such file"),
        (f"{WHAT} /no/such/cat.png", "/no/such/cat.png: there is no such file"),
        (f"folder.png {WHAT}", "this is a folder"),
        (f"'my circle.png' cat.png {WHAT}", "my circle.png, cat.png: a conversation is about one picture"),
        (f"http://example.org/cat.png {WHAT}", "pictures are not fetched from the network"),
        (f"/claer cat.png {WHAT}", "/claer: there is no such command, perhaps /clear"),
    ],
)
def test_what_can_not_be_looked_at_is_not_asked_about(play: Play, here: Path, line: str, message: str) -> None:
    (here / "folder.png").mkdir()
    played = play(line, picture=CIRCLE)
    assert message in played.err
    assert (played.out, played.session.turns) == ([], ())
    assert played.session.picture is not None
    assert played.session.picture.path == CIRCLE


def test_image_takes_a_question_too(play: Play, tiny: Model, here: Path) -> None:
    assert play(f"/image my circle.png {TRIANGLE}").out == answers(tiny, CIRCLE, TRIANGLE)
    assert "my nope.png: there is no such file" in play("/image my nope.png").err


@pytest.mark.parametrize("word", ["/exit", "/bye", "/quit", "/QUIT", "exit", "quit", "bye", "Exit"])
def test_words_that_leave(play: Play, word: str) -> None:
    assert play(word, "/nonsense").err == ""


@pytest.mark.parametrize("word", ["/?", "/help", "help"])
def test_words_that_help(play: Play, word: str) -> None:
    assert play(word).err == play("/help").err != ""


def test_such_words_in_a_sentence_are_words(play: Play) -> None:
    assert [turn.question for turn in play("help me", "exit?", "/ what").session.turns] == [
        "help me",
        "exit?",
        "/ what",
    ]


# ---- /undo ----


def test_undo_takes_the_last_turn_away(play: Play, tiny: Model) -> None:
    played = play(WHAT, "Is it a dog?", "/undo", "What colour is it?", picture=CAT)
    assert [turn.question for turn in played.session.turns] == [WHAT, "What colour is it?"]
    assert played.out[-1] == answers(tiny, CAT, WHAT, "What colour is it?")[-1]
    assert "taken back: Is it a dog?; 1 before it stays" in played.err
    assert "there is nothing to take back" in play("/undo", "/undo", "/undo", session=played.session).err


# ---- /export ----


def test_an_export_has_the_picture_beside_it(play: Play, here: Path) -> None:
    played = play(TRIANGLE, "/export my chat", picture=here / "my circle.png")
    assert (here / "my chat.png").read_bytes() == CIRCLE.read_bytes()
    text = (here / "my chat.md").read_text(encoding="utf-8")
    assert text == f"# A conversation with tiny\n\n![my circle.png](my%20chat.png)\n\n> {TRIANGLE}\n\nno\n"
    assert "exported to my chat.md, its picture to my chat.png" in played.err


def test_an_export_without_a_name_finds_one(play: Play, here: Path) -> None:
    play("Hello?", "/export", "/export")
    assert len(list(here.glob("chat-*.md"))) == 2


def test_an_export_replaces_nothing(play: Play, here: Path) -> None:
    (here / "chat.md").write_text("mine")
    (here / "other.png").write_bytes(b"mine")
    session = play(TRIANGLE, picture=here / "my circle.png").session
    assert "chat.md: this is there already" in play("/export chat.md", session=session).err
    assert "other.png: this is there already" in play("/export other", session=session).err
    assert "this is no name for Markdown" in play("/export third.png", session=session).err
    assert "can't be written there" in play("/export no/where.md", session=session).err
    assert sorted(path.name for path in here.iterdir()) == ["cat.png", "chat.md", "my circle.png", "other.png"]
    assert "there is nothing to export yet" in play("/clear", "/export", session=session).err


def test_a_picture_that_has_changed_is_exported_as_the_model_saw_it(
    play: Play, tiny: Model, here: Path, opener: PictureOpener
) -> None:
    session = play(WHAT, picture=here / "my circle.png").session
    (here / "my circle.png").write_bytes(CAT.read_bytes())
    play("/export chat", session=session)
    with Image.open(here / "chat.png") as seen, Image.open(CIRCLE) as circle:
        assert seen.size == (tiny.config.vision.image_size,) * 2
        assert seen.getpixel((0, 0)) == pytest.approx(circle.convert("RGB").getpixel((0, 0)), abs=4)
    session.look_at(ChatPicture(opener.open_file(CAT).image, "clipboard", None))
    play(WHAT, "/export pasted", session=session)
    assert (here / "pasted.png").exists()


def test_what_is_markdown_in_a_name_is_none_in_the_export() -> None:
    turns = (Turn("one\n\n# two", " *answer*\n\n- list "), Turn("again", ""))
    text = as_markdown(Transcript("t", None, "Be\n*brief*", SamplingParams(), turns), ("a]*b.png", "x y.png"))
    assert text.strip().split("\n\n")[1:] == [
        "![a\\]\\*b.png](x%20y.png)",
        "*The model was told first:* Be \\*brief\\*",
        "> one\n>\n> # two",
        "*answer*",
        "- list",
        "> again",
        "*(nothing)*",
    ]


def test_a_saved_one_is_loaded_however_its_path_is_written(play: Play, here: Path) -> None:
    """As terminals write what is dropped on them."""
    play(WHAT, "/save my chat.json")
    path = here / "my chat.json"
    forms = ["my chat.json", "'my chat.json'", f'"{path}"', path.as_uri()]
    for form in forms if IS_WINDOWS else [*forms, r"my\ chat.json"]:
        assert "loaded 1 question and its answer" in play(f"/load {form}").err, form


# ---- kept, and gone on with ----


def test_a_conversation_is_kept_and_gone_on_with(play: Play, tiny: Model, chats: Path, here: Path) -> None:
    play(WHAT, picture=here / "cat.png", keeps=True)
    (path,) = chats.iterdir()
    assert newest_kept() == path
    session = play("/set top_k 7").session
    session._keeps = True
    session.go_on_with(path)
    played = play("What colour is it?", session=session)
    assert played.out[-1] == answers(tiny, CAT, WHAT, "What colour is it?")[-1]
    assert "going on with the conversation of" in played.err
    assert "about cat.png" in played.err
    assert session.params.top_k == 7
    (now,) = chats.iterdir()
    assert now != path  # another chat may go on with the same one: neither loses its answers
    assert len(read_transcript(now).turns) == 2


def test_each_conversation_is_a_file_and_an_undone_one_is_none(play: Play, chats: Path) -> None:
    session = play(WHAT, "/clear", TRIANGLE, picture=CAT, keeps=True).session
    assert {len(read_transcript(path).turns) for path in chats.iterdir()} == {1}
    assert (len(list(chats.iterdir())), session.is_kept) == (2, True)
    play("/undo", session=session)
    assert (len(list(chats.iterdir())), session.is_kept) == (1, False)


def test_nothing_is_kept_where_nothing_is_said_or_that_is_not_wanted(play: Play, chats: Path) -> None:
    play("/info", picture=CAT, keeps=True)
    assert not play(WHAT, picture=CAT).session.is_kept
    assert not chats.exists()
    with pytest.raises(InputError, match="no conversation is kept yet"):
        newest_kept()


def test_a_picture_that_changed_since_is_said(play: Play, here: Path) -> None:
    play(WHAT, picture=here / "cat.png", keeps=True)
    (here / "cat.png").write_bytes(CIRCLE.read_bytes())
    session = play().session
    session.go_on_with(newest_kept())
    assert "cat.png has changed since" in play(session=session).err
    (here / "cat.png").unlink()
    session = play().session
    session.go_on_with(newest_kept())
    assert "the model doesn't see the picture" in play(session=session).err


def test_the_newest_are_kept(chats: Path) -> None:
    for number in range(KEPT + 3):
        kept = KeptChat()
        assert kept.keep(Transcript("tiny", None, None, SamplingParams(), (Turn(str(number), ""),))) == ""
        os.utime(kept._path or "", ns=(number * 10**9, number * 10**9))
    assert len(list(chats.iterdir())) == KEPT
    assert read_transcript(newest_kept()).turns[0].question == str(KEPT + 2)
    assert "0" not in {read_transcript(path).turns[0].question for path in chats.iterdir()}


@not_on_windows
def test_what_is_no_conversation_in_their_folder_is_passed_over(chats: Path) -> None:
    assert not KeptChat().keep(ONE)
    newest = newest_kept()
    (chats / "folder.json").mkdir()
    if not IS_WINDOWS:
        (chats / "link.json").symlink_to("nowhere")
    assert newest_kept() == newest
    for _ in range(KEPT + 2):
        assert not KeptChat().keep(ONE)
    assert sum(path.is_file() for path in chats.iterdir()) == KEPT


def test_one_that_another_chat_has_taken_up_meanwhile_is_said(play: Play, chats: Path) -> None:
    play(WHAT, keeps=True)
    played, path = play(keeps=True), newest_kept()
    path.unlink()
    with pytest.raises(InputError, match="was taken up by another chat meanwhile"):
        played.session.go_on_with(path)


def test_kept_conversations_are_for_their_owner_alone(chats: Path) -> None:
    KeptChat().keep(ONE)
    assert stat.S_IMODE(chats.stat().st_mode) == 0o700
    assert stat.S_IMODE(newest_kept().stat().st_mode) == 0o600


def test_what_can_not_be_kept_is_said_once(play: Play, chats: Path) -> None:
    chats.parent.mkdir(parents=True)
    chats.write_text("a file where the folder should be", encoding="utf-8")
    played = play(WHAT, WHAT, picture=CAT, keeps=True)
    assert played.out == ["This is a cat."] + [turn.answer for turn in played.session.turns[1:]]
    assert played.err.count("this conversation isn't kept") == 1
