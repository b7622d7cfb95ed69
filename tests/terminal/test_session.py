"""What the chat's commands do, with the built-in model, and what the loop around them does, on plain lines."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from omnilmm_lite.answer.generation import Answer
from omnilmm_lite.chat import Chat
from omnilmm_lite.engine.decoder import Decoder
from omnilmm_lite.engine.vision import VisionEncoder
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.model import Model
from omnilmm_lite.terminal.commands import COMMANDS, KEYS
from omnilmm_lite.terminal.line_reader import PlainLineReader
from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener
from omnilmm_lite.terminal.screen import Screen, shown
from tests.systems import IS_WINDOWS
from tests.terminal.played import CAT, CIRCLE, TRIANGLE, WHAT, Play, answers

# ---- questions and pictures ----


def test_answers_are_those_of_the_python_api(play: Play, tiny: Model) -> None:
    played = play(WHAT, "", "  ", "What colour is it?", picture=CAT)
    assert played.out == answers(tiny, CAT, WHAT, "What colour is it?")
    assert played.out[0] == "This is a cat."


def test_a_new_picture_begins_a_new_conversation_and_says_so(play: Play, tiny: Model) -> None:
    played = play(WHAT, f"/image {CIRCLE}", TRIANGLE, picture=CAT)
    assert played.out == [*answers(tiny, CAT, WHAT), *answers(tiny, CIRCLE, TRIANGLE)]
    assert "easy-vqa-teal-circle.png, 64 × 64" in played.err  # noqa: RUF001  # the sign for it
    assert "a new conversation begins" in played.err


def test_a_pasted_path_becomes_the_picture(play: Play, tiny: Model) -> None:
    assert play(f"'{CIRCLE}' ", TRIANGLE).out == answers(tiny, CIRCLE, TRIANGLE)


def test_clear_keeps_the_picture_even_when_its_file_is_gone(play: Play, tiny: Model, tmp_path: Path) -> None:
    path = tmp_path / "circle.png"
    path.write_bytes(CIRCLE.read_bytes())
    session = play(TRIANGLE, picture=path).session
    path.unlink()
    played = play("/clear", TRIANGLE, session=session)
    assert played.out == answers(tiny, CIRCLE, TRIANGLE)
    assert [len(session.turns), "a new conversation, about circle.png" in played.err] == [1, True]


def test_a_picture_is_encoded_once_and_a_changed_file_is_another(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    run = VisionEncoder._run

    def count(encoder: VisionEncoder, pixels: Any) -> Any:
        encoded.append(pixels)
        return run(encoder, pixels)

    monkeypatch.setattr(VisionEncoder, "_run", count)
    path = tmp_path / "grey.png"
    Image.new("RGB", (9, 9), (1, 2, 3)).save(path)
    session = play("/clear", "/info", picture=path).session
    assert "remembered" in play(f"/image {path}", session=session).err
    assert len(encoded) == 1
    Image.new("RGB", (9, 9), (3, 2, 1)).save(path)
    assert "looked at in" in play(f"/image {path}", session=session).err
    assert len(encoded) == 2


def test_image_alone_says_which(play: Play) -> None:
    assert "no picture" in play("/image").err
    assert str(CAT) in play("/image", picture=CAT).err


# ---- answers that end otherwise ----


def test_regenerate_asks_again_in_place_of_the_last_answer(play: Play) -> None:
    played = play(WHAT, "What colour is it?", "/regenerate", picture=CAT)
    assert played.out[1] == played.out[2]
    assert [turn.question for turn in played.session.turns] == [WHAT, "What colour is it?"]
    assert "stays the same" in played.err


def test_a_failed_regenerate_keeps_the_old_answer(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    session = play(WHAT, picture=CAT).session
    before = session.turns

    def fail(*arguments: object) -> Any:
        raise OmniLMMError("the graph failed")

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "prefill", fail)
        assert "the graph failed" in play("/regenerate", session=session).err
    assert session.turns == before
    assert play("/regenerate", session=session).out == [before[0].answer]


def test_ctrl_c_stops_the_answer_and_what_was_said_stays(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    session = play(picture=CAT).session
    piece = Screen.piece

    def press(screen: Screen, text: str) -> None:
        piece(screen, text)
        monkeypatch.setattr(Screen, "piece", piece)
        raise KeyboardInterrupt

    monkeypatch.setattr(Screen, "piece", press)
    played = play("Where is it?", WHAT, session=session)
    assert "[stopped]" in played.err
    said = session.turns[0].answer
    assert said
    assert played.out[0].rstrip() == said.rstrip()  # screen and conversation agree
    assert [turn.question for turn in session.turns] == ["Where is it?", WHAT]


def test_ctrl_c_while_a_picture_is_looked_at_changes_nothing(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    session = play(WHAT, picture=CAT).session

    def press(*arguments: object) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Model, "chat", press)
        assert "[stopped]" in play(f"/image {CIRCLE}", session=session).err
    assert session.picture is not None
    assert (session.picture.path, len(session.turns)) == (CAT, 1)


def test_ctrl_c_twice_leaves(play: Play) -> None:
    played = play(KeyboardInterrupt(), KeyboardInterrupt(), "/nonsense")
    assert "once more leaves" in played.err
    assert "/nonsense" not in played.err


def test_ctrl_c_after_a_while_is_the_first_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.1, 103.0])
    monkeypatch.setattr("omnilmm_lite.terminal.chat_loop.time.monotonic", lambda: next(clock))
    played = play(KeyboardInterrupt(), KeyboardInterrupt(), KeyboardInterrupt(), "/nonsense")
    assert played.err.count("once more leaves") == 2
    assert "/nonsense" not in played.err


def test_an_answer_that_is_cut_says_by_what(play: Play) -> None:
    assert "[ended by max_new_tokens 2]" in play("/set max_new_tokens 2", WHAT, picture=CAT).err


def test_a_full_context_says_what_to_do(play: Play) -> None:
    played = play("why " * 3000, WHAT, picture=CAT)
    assert "/clear starts a new conversation about the same picture" in played.err
    assert played.out == ["This is a cat."]


def test_an_answer_that_fills_the_context_says_so(play: Play, tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tiny.encode_chat([{"role": "user", "content": WHAT}], image=True)
    monkeypatch.setattr(tiny.text.decoder, "context", len(ids) + 2)
    assert "[the context is full: /clear" in play(WHAT, picture=CAT).err


# ---- settings ----


def test_settings_are_shown_changed_and_refused(play: Play, tiny: Model) -> None:
    played = play(
        "/set", "/set temperature 0.25", "/set top-k=7", "/set seed 3", "/set greedy on", "/set top_k default"
    )
    assert all(name in played.err for name in ("greedy", "presence_penalty", "max_new_tokens"))
    assert "0.25 (default 0.6)" in played.err
    params = played.session.params
    assert (params.temperature, params.top_k, params.seed) == (0, tiny.sampling.top_k, 3)
    play("/set greedy off", "/set seed none", session=played.session)
    assert (played.session.params.temperature, played.session.params.seed) == (0.6, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/set temprature 1", "temprature: there is no such setting, perhaps temperature; /set lists them"),
        ("/set temperature", "temperature: give a value"),
        ("/set temperature hot", "'hot' is not a number"),
        ("/set temperature nan", "temperature: nan is out of range"),
        ("/set top_k 1.5", "'1.5' is not a whole number"),
        ("/set greedy maybe", "neither on nor off"),
        ("/set top_p 2", "top_p: 2.0 is out of range"),
        ("/claer", "/claer: there is no such command, perhaps /clear; /help lists them"),
        ("/", "there is no such command"),
        ("/clear all", "it takes nothing after it"),
        ("/regenerate", "there is no answer yet"),
        ("/image nowhere.png", "nowhere.png: there is no such file"),
        ("/load", "/load: name a file"),
        ("/load nowhere.json", "there is no such file"),
        ("/save nowhere/chat.json", "can't be saved there"),
    ],
)
def test_what_can_not_be_is_said_and_changes_nothing(play: Play, line: str, message: str) -> None:
    session = play(picture=CAT).session
    params, picture = session.params, session.picture
    assert message in play(line, session=session).err
    assert (session.params, session.picture) == (params, picture)
    assert play(WHAT, session=session).out == ["This is a cat."]


def test_another_system_text(play: Play, tiny: Model) -> None:
    played = play(WHAT, "/system Be brief.", "/system", WHAT, "/system default", WHAT, picture=CAT)
    brief = answers(tiny, CAT, WHAT, system="Be brief.")
    assert played.out == [*answers(tiny, CAT, WHAT), *brief, *answers(tiny, CAT, WHAT)]
    assert "Be brief." in played.err
    assert played.session.system is None


# ---- saved conversations ----


def test_a_saved_conversation_goes_on_where_it_was(play: Play, tiny: Model, tmp_path: Path) -> None:
    path = tmp_path / "my chat.json"
    play(TRIANGLE, "/set top_k 5", f"/save '{path}'", picture=CIRCLE)
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert (fields["version"], fields["picture"]["path"]) == (1, str(CIRCLE))
    played = play(f"/load {path}", WHAT)
    assert played.out == answers(tiny, CIRCLE, TRIANGLE, WHAT)
    assert played.session.params.top_k == 5
    assert "loaded 1 question and its answer about easy-vqa-teal-circle.png" in played.err
    assert "changed" not in played.err


def test_a_picture_that_changed_or_is_gone_is_said(play: Play, tmp_path: Path) -> None:
    path, chat = tmp_path / "circle.png", tmp_path / "chat.json"
    path.write_bytes(CIRCLE.read_bytes())
    play(TRIANGLE, f"/save {chat}", picture=path)
    path.write_bytes(CAT.read_bytes())
    changed = play(f"/load {chat}")
    assert "circle.png has changed since" in changed.err
    assert changed.session.picture is not None
    path.unlink()
    gone = play(f"/load {chat}")
    assert "there is no such file" in gone.err
    assert "the model doesn't see the picture" in gone.err
    assert (gone.session.picture, len(gone.session.turns)) == (None, 1)


def test_a_picture_from_no_file_is_found_while_it_is_here(
    play: Play, tiny: Model, opener: PictureOpener, tmp_path: Path
) -> None:
    chat = tmp_path / "chat.json"
    session = play().session
    session.look_at(ChatPicture(opener.open_file(CAT).image, "clipboard", None))
    play(WHAT, f"/save {chat}", "/clear", session=session)
    assert "no file" not in play(f"/load {chat}", session=session).err
    assert len(session.turns) == 1
    assert "the picture came from no file" in play(f"/load {chat}").err


def test_another_models_conversation_is_said(play: Play, tmp_path: Path) -> None:
    chat = tmp_path / "chat.json"
    play(WHAT, f"/save {chat}")
    chat.write_text(json.dumps(json.loads(chat.read_text()) | {"model": "large"}))
    assert "the answers are the model large's" in play(f"/load {chat}").err


# ---- info, help, leaving ----


def test_info_says_what_runs_where(play: Play, tiny: Model) -> None:
    played = play("/info", WHAT, "/info", picture=CAT)
    before, after = played.err.split("model ")[1:]
    assert f"0 of {tiny.text.decoder.context} tokens" in before
    assert "none yet" in before
    assert "cpu: the bundle is built for the CPU" in after
    assert "tokens/s" in after
    assert IS_WINDOWS or "GiB at most" in after
    messages = [{"role": "user", "content": WHAT}, {"role": "assistant", "content": "This is a cat."}]
    used = len(tiny.encode_chat(messages, image=True))
    assert f"{used} of" in after
    assert played.statuses[-1].startswith(f"cat.png · {used} of")


def test_help_names_every_command_and_key(play: Play) -> None:
    lines = play("/help").err.splitlines()
    assert [line.split()[0] for line in lines] == [row.name for row in COMMANDS] + [key for key, _ in KEYS]


def test_quit_ends_it(play: Play) -> None:
    assert play("/quit", "/nonsense").err == ""


def test_an_answer_can_not_steer_the_terminal(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def steer(chat: Chat, question: str, answer: Answer) -> Iterator[str]:
        answer.text = "\x1b]0;title\x07a\x9bb\n\tc\r"
        yield answer.text

    monkeypatch.setattr(Chat, "follow", steer)
    assert play(WHAT).out == ["]0;titleab", "\tc"]
    assert shown("a\x00\x7f\x85éb") == "aéb"


# ---- plain lines ----


def test_lines_that_end_in_a_backslash_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\\\ntwo\\\nthree\nfour\nfive\\\n"))
    prompt = PlainLineReader()
    assert [prompt.read(""), prompt.read(""), prompt.read("")] == ["one\ntwo\nthree\n", "four\n", "five\n"]
    with pytest.raises(EOFError):
        prompt.read("")


def test_a_line_that_is_no_text_is_asked_for_again(play: Play) -> None:
    played = play(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), WHAT, picture=CAT)
    assert played.out == ["This is a cat."]
    assert "not UTF-8" in played.err
