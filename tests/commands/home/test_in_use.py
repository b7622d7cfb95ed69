"""A model's name stands wherever a model does, and settings where an option was left open."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from omnilmm_lite.home.models import ModelStore
from tests.command_line import Run, load_once, refused
from tests.systems import not_on_windows

ASK = ("-p", "What is this?", "--max-new-tokens", 4)
CAT = "examples/pictures/cat.png"
TINY = "answered by tiny, the built-in demonstration model"


def expected(folder: Path, **options: object) -> str:
    return load_once(folder).chat(CAT).ask("What is this?", max_new_tokens=4, **options) + "\n"  # type: ignore[arg-type]


def test_a_name_is_as_good_as_a_folder(run: Run, model: Path) -> None:
    answer = run("run", CAT, *ASK, "--greedy", "--model", "mine")
    assert (answer.code, answer.out, answer.err) == (0, expected(model, greedy=True), "")
    inspected = [run("inspect", word, "--json").json for word in ("mine", model)]
    assert inspected[0] == inspected[1]
    assert run("plan", "mine", "--json").json == run("plan", model, "--json").json
    assert run("doctor", "--model", "mine", "--json").json["bundle"] == str(model)
    assert "mines: there is no such model, did you mean mine?" in refused(run("run", *ASK, "--model", "mines"))
    assert "did you mean mine?" in refused(run("quality", "tiny", "--against", "mine2"))
    assert "did you mean mine?" in refused(run("bench", "--check", "mein"))


def test_the_default_answers_where_tiny_did(run: Run, model: Path, store: ModelStore, tmp_path: Path) -> None:
    assert run("run", CAT, *ASK, "--greedy").out != expected(model, greedy=True)
    assert run("models", "default", "mine").code == 0
    assert run("run", CAT, *ASK, "--greedy").out == expected(model, greedy=True)
    captions = tmp_path / "captions.jsonl"
    assert run("caption", Path(CAT).parent, "-o", captions, "--include", "cat.png", "--greedy", *ASK[2:]).code == 0
    assert '"model": "tiny-reference@' in captions.read_text(encoding="utf-8")  # what the bundle calls itself
    assert run("doctor", "--json").json["bundle"] == str(model)
    tiny = run("run", CAT, *ASK[:2], "--greedy", "--model", "tiny")
    assert (tiny.out, tiny.err) == ("This is a cat.\n", f"{TINY}\n")


def test_tiny_says_that_it_is_not_the_real_one(run: Run, tmp_path: Path) -> None:
    line = f"{TINY}; `omnilmm-lite setup` gets the real one\n"
    told = run("run", CAT, "-p", "What is this?", "--greedy")
    assert (told.out, told.err) == ("This is a cat.\n", line)
    asked = run("run", CAT, "-p", "What is this?", "--greedy", "--json")
    assert (asked.json["text"], asked.err) == ("This is a cat.", line)
    captions = run("caption", Path(CAT).parent, "-o", tmp_path / "out", "--include", "cat.png", "--greedy")
    assert captions.err.endswith(line)
    assert run("run", stdin=io.StringIO("hello")).err == line


def test_settings_hold_where_an_option_is_left_open(
    run: Run, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.joinpath("settings.toml").write_text("greedy = true\nmax-new-tokens = 4\n", encoding="utf-8")
    command = ("run", CAT, "-p", "What is this?", "--model", "mine")
    assert run(*command).out == expected(model, greedy=True)
    monkeypatch.setenv("OMNILMM_MAX_NEW_TOKENS", "2")
    assert run(*command, "--json").json["timings"]["new_tokens"] == 2
    assert run(*command, "--json", "--max-new-tokens", 3).json["timings"]["new_tokens"] == 3
    monkeypatch.setenv("OMNILMM_DEVICE", "tpu")
    assert "device 'tpu' is unknown" in refused(run(*command))
    assert run(*command, "--device", "cpu").code == 0
    monkeypatch.setenv("OMNILMM_CONTEXT", "ten")
    assert "OMNILMM_CONTEXT: 'ten' is not a whole number" in refused(run(*command))
    assert run("inspect", "tiny").code == 0  # asks for none of them


def test_a_model_by_variable(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNILMM_MODEL", "mine")
    assert run("run", CAT, *ASK, "--greedy").out == expected(model, greedy=True)


@not_on_windows
def test_serve_takes_its_port_from_the_settings(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    home.joinpath("settings.toml").write_text("host = '0.0.0.0'\nport = 0\n", encoding="utf-8")
    assert "0.0.0.0 lets other machines ask" in refused(run("serve"))
    home.joinpath("settings.toml").write_text("api-key-file = '/no/such'\n", encoding="utf-8")
    assert "--api-key-file: /no/such can't be read" in refused(run("serve", "--port", 0))


@pytest.mark.parametrize("word", ["nothing/here", "~no-such-user-here/model", "nothing-here"])
def test_a_model_that_is_nowhere_says_how_to_get_one(run: Run, home: Path, word: str) -> None:
    complaint = refused(run("run", *ASK, "--model", word))
    assert complaint.startswith(f"omnilmm-lite: {word}: there is no such bundle folder, and no model of that name; ")
    assert complaint.endswith("`omnilmm-lite setup` gets one")


def test_an_empty_name_is_no_folder(run: Run, home: Path) -> None:
    assert "the model's name is empty" in refused(run("run", *ASK, "--model", ""))


def test_a_device_that_is_set_wrong_is_named_with_its_place(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    file = home / "settings.toml"
    file.write_text("device = 'gpu'\n", encoding="utf-8")
    for command in (("run", *ASK), ("config",)):
        assert f"{file}: device 'gpu' is unknown" in refused(run(*command))
    monkeypatch.setenv("OMNILMM_DEVICE", "tpu")
    assert "OMNILMM_DEVICE: device 'tpu' is unknown" in refused(run("run", *ASK))
    assert run("run", *ASK, "--device", "cpu", "--greedy").code == 0
