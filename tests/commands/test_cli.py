"""The command line's contract: what goes where, and one line for everything that can't be."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from omnilmm_lite import __version__
from omnilmm_lite import model as model_module
from omnilmm_lite.bundle.manifest import MANIFEST, SCHEMA_VERSION
from omnilmm_lite.engine.device import DeviceError
from omnilmm_lite.model import Model
from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener
from tests.command_line import Result, Run, edit, linked, load_once, refused, runner
from tests.systems import IS_WINDOWS

ANSWER_KEYS = {"text", "tokens", "finish_reason", "timings", "device", "peak_rss_bytes"}
TIMING_KEYS = {
    "load_s", "vision_s", "prefill_s", "decode_s", "prompt_tokens", "prefill_tokens", "new_tokens", "drafted_tokens",
    "accepted_tokens", "tokens_per_s",
}  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save_picture(tmp_path / "picture.png", seed=0)


def save_picture(path: Path, seed: int, width: int = 40, height: int = 30) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# ---- run ----


def test_an_answer_is_all_there_is_on_stdout(run: Run, tiny_bundle: Path, picture: Path) -> None:
    result = run("run", picture, "-p", "What is this?", "--model", tiny_bundle, "--greedy", "--max-new-tokens", 5)
    expected = load_once(tiny_bundle).chat(picture).ask("What is this?", greedy=True, max_new_tokens=5)
    assert (result.code, result.out, result.err) == (0, expected + "\n", "")


def test_json_is_one_object_with_the_documented_keys(run: Run, tiny_bundle: Path, picture: Path) -> None:
    command = ("run", picture, "-p", "What is this?", "--model", tiny_bundle, "--greedy", "--max-new-tokens", 5)
    result = run(*command, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("\n") == 1
    answer = result.json
    assert set(answer) == ANSWER_KEYS
    assert set(answer["timings"]) == TIMING_KEYS
    assert (answer["finish_reason"], answer["device"]) == ("length", "cpu")
    assert len(answer["tokens"]) == answer["timings"]["new_tokens"] == 5
    messages = [{"role": "user", "content": "What is this?"}]
    assert answer["timings"]["prompt_tokens"] == len(load_once(tiny_bundle).encode_chat(messages, image=True))
    assert answer["peak_rss_bytes"] is None if IS_WINDOWS else answer["peak_rss_bytes"] > 10 * 2**20
    assert answer["text"] + "\n" == run(*command).out


def test_drafts_are_for_those_who_ask_for_them(run: Run) -> None:
    """The built-in model repeats what the question says."""
    prompt = "\nThis is a cat.\nWhat is this?"
    command = ("run", "examples/pictures/cat.png", "-p", prompt, "--greedy", "--json")
    usual, drafted = run(*command).json, run(*command, "--drafts").json
    assert usual["tokens"] == drafted["tokens"]
    assert drafted["timings"]["accepted_tokens"] > 0 == usual["timings"]["drafted_tokens"]


def test_the_prompt_may_come_from_stdin(run: Run, tiny_bundle: Path) -> None:
    command = ("run", "--model", tiny_bundle, "--greedy", "--max-new-tokens", 5, "--json")
    given = run(*command, "-p", "Größe?").json
    piped = run(*command, stdin=io.StringIO("Größe?\n")).json
    assert piped["tokens"] == given["tokens"]
    assert piped["timings"]["prompt_tokens"] == given["timings"]["prompt_tokens"]


def test_a_given_prompt_leaves_stdin_alone(run: Run, tiny_bundle: Path) -> None:
    stdin = io.StringIO("not for you")
    assert run("run", "-p", "Hello?", "--model", tiny_bundle, "--max-new-tokens", 1, stdin=stdin).code == 0
    assert stdin.tell() == 0


def test_several_pictures_get_an_answer_each(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / f"{seed}.png", seed) for seed in range(2)]
    command = ("-p", "What is this?", "--model", tiny_bundle, "--greedy", "--max-new-tokens", 4)
    alone = [run("run", path, *command, "--json").json["text"] for path in paths]
    assert alone[0] != alone[1]
    together = run("run", *paths, *command, "--json")
    assert [answer["text"] for answer in together.json["answers"]] == alone
    assert all(set(answer) == ANSWER_KEYS for answer in together.json["answers"])
    lines = run("run", *paths, *command).out
    assert lines == "".join(f"{path}: {text}\n" for path, text in zip(paths, alone, strict=True))


def test_of_several_pictures_one_is_in_memory_at_a_time(
    run: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[ChatPicture]] = []

    open_file = PictureOpener.open_file

    def counted(opener: PictureOpener, path: str) -> ChatPicture:
        assert not any(earlier() for earlier in opened)
        picture = open_file(opener, path)
        opened.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(PictureOpener, "open_file", counted)
    paths = [save_picture(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    command = ("run", *paths, "-p", "What is this?", "--model", tiny_bundle, "--max-new-tokens", 1)
    assert (run(*command).code, run(*command, "--json").code) == (0, 0)
    assert len(opened) == 2 * 2 * len(paths)  # each is looked at before the model is loaded, and again in its turn


def test_a_zero_is_an_option_like_any_other(run: Run, tiny_bundle: Path) -> None:
    command = ("run", "-p", "Hello?", "--model", tiny_bundle, "--max-new-tokens", 6, "--json")
    assert run(*command, "--temperature", 0).json["tokens"] == run(*command, "--greedy").json["tokens"]
    wild = (*command, "--temperature", 3, "--top-k", 0, "--top-p", 1)
    seeded = [run(*wild, "--seed", seed).json["tokens"] for seed in (0, 0, 1)]
    assert seeded[0] == seeded[1] != seeded[2]


def test_a_system_text_replaces_the_models_own(run: Run, tiny_bundle: Path) -> None:
    command = ("run", "-p", "Hello?", "--model", tiny_bundle, "--max-new-tokens", 1, "--json")
    usual, short = (run(*command, *extra).json["timings"]["prompt_tokens"] for extra in ((), ("--system", "Hi.")))
    assert short < usual


def test_one_pixel_is_a_picture(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "dot.png", seed=0, width=1, height=1)
    assert run("run", path, "-p", "What is this?", "--model", tiny_bundle, "--max-new-tokens", 1).code == 0


# ---- what can't be ----


def no_picture(folder: Path) -> Path:
    return folder / "no.png"


def text_named_png(folder: Path) -> Path:
    (folder / "text.png").write_text("I am no picture.")
    return folder / "text.png"


def truncated_jpeg(folder: Path) -> Path:
    path = save_picture(folder / "cut.jpg", seed=0, width=200, height=200)
    os.truncate(path, path.stat().st_size // 2)
    return path


def a_line(folder: Path) -> Path:
    return save_picture(folder / "line.png", seed=0, width=20_000, height=1)


def newline_in_the_name(folder: Path) -> Path:
    return folder / "two\nlines.png"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_picture, "no.png: there is no such file"),
        (text_named_png, "text.png: this is not a JPEG, PNG"),
        (truncated_jpeg, "cut.jpg: the picture is damaged or cut short"),
        (a_line, "line.png: the picture is 20000x1"),
        (newline_in_the_name, r"two\nlines.png: there is no such file"),
        (lambda folder: folder, "this is a folder"),
    ],
)
def test_bad_pictures(run: Run, tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    assert message in refused(run("run", make(tmp_path), "-p", "What is this?", "--model", tmp_path / "not read yet"))


@pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
def test_empty_prompts(run: Run, prompt: str) -> None:
    assert "the prompt is empty" in refused(run("run", "-p", prompt))
    assert "the prompt is empty" in refused(run("run", stdin=io.StringIO(prompt)))


def test_a_prompt_that_is_no_text(run: Run) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8")
    assert "standard input: the prompt is not UTF-8" in refused(run("run", stdin=stdin))


def test_a_closed_stdin_is_an_empty_prompt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "the prompt is empty" in refused(Result(cli.main(["run"]), *capsys.readouterr()))


def test_a_prompt_longer_than_the_context(run: Run, tiny_bundle: Path) -> None:
    result = run("run", "-p", "why " * 100, "--model", tiny_bundle, "--context", 80)
    assert "the context holds 80 together with the answer" in refused(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "tpu"], "device 'tpu' is unknown: choose auto, cpu or cuda"),
        (["--top-p", "3"], "top_p: 3.0 is out of range"),
        (["--temperature", "nan"], "temperature: nan is out of range"),
        (["--max-new-tokens", "0"], "max_new_tokens: 0 is out of range"),
        (["--context", "0"], "context: 0 is out of range"),
        (["--threads", "-1"], "threads: -1 is out of range"),
    ],
)
def test_options_out_of_range(run: Run, tiny_bundle: Path, options: list[str], message: str) -> None:
    assert message in refused(run("run", "-p", "Hello?", "--model", tiny_bundle, *options))


def test_a_chat_needs_a_person_and_one_picture(run: Run) -> None:
    assert "--json needs a prompt" in refused(run("run", "--json"))
    assert "a chat is about one picture, 2 were given" in refused(run("run", "a.png", "b.png"))


@pytest.mark.parametrize("command", [("run", "-p", "Hello?", "--model"), ("inspect",)])
def test_what_is_no_bundle(run: Run, tiny_bundle: Path, tmp_path: Path, command: Sequence[str]) -> None:
    assert "no such bundle folder" in refused(run(*command, tmp_path / "nothing"))
    assert f"has no {MANIFEST}" in refused(run(*command, tmp_path))
    (tmp_path / "config.json").touch()
    damaged = "looks like a checkpoint" if command == ("inspect",) else "config.json is not valid JSON"
    assert damaged in refused(run(*command, tmp_path))
    manifest = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"schema_version": SCHEMA_VERSION + 1}))
    assert f"schema version {SCHEMA_VERSION + 1}" in refused(run(*command, tmp_path))


def test_a_device_that_is_not_there_is_a_failure(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = linked(tiny_bundle, tmp_path / "cuda")
    edit(folder, target="cuda")
    result = run("run", "-p", "Hello?", "--model", folder, "--device", "cuda")
    assert "CUDA was asked for, but" in refused(result, code=1)
    result = run("run", "-p", "Hello?", "--model", tiny_bundle, "--device", "cuda")
    assert "the bundle is built for the CPU" in refused(result)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DeviceError("no card"), 1, "no card"),
        (PermissionError(13, "Permission denied", "weights"), 1, "weights: Permission denied"),
        (OSError("strange"), 1, "strange"),
        (MemoryError(), 1, "the memory is not enough"),
    ],
)
def test_failures_are_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(*arguments: object, **options: object) -> Model:
        raise error

    monkeypatch.setattr(model_module, "load", fail)
    assert message in refused(run("run", "-p", "Hello?"), code)


def test_an_interrupt_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> Model:
        raise KeyboardInterrupt

    monkeypatch.setattr(model_module, "load", interrupt)
    result = run("run", "-p", "Hello?")
    assert (result.code, result.out, result.err) == (130, "", "")


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["run", "--top-k", "many"], ["inspect"]])
def test_wrong_usage_is_argparses_to_explain(run: Run, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 2


def test_pipes_hold_utf_8_on_windows_too(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python would take the code page for them (PEP 686): JSON is UTF-8 (RFC 8259)."""
    folder = linked(tiny_bundle, tmp_path / "named")
    edit(folder, name="猫")
    pipes = {"stdin": io.BytesIO("猫?".encode()), "stdout": io.BytesIO(), "stderr": io.BytesIO()}
    monkeypatch.setattr(sys, "platform", "win32")
    for name, pipe in pipes.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(pipe, encoding="cp1252", write_through=True))
    assert cli.main(["inspect", str(folder), "--json"]) == 0
    assert cli.main(["inspect", str(folder / "猫")]) == 2
    assert json.loads(pipes["stdout"].getvalue().decode())["name"] == "猫"
    assert "猫: there is no such bundle folder" in pipes["stderr"].getvalue().decode()
    assert sys.stdin.read() == "猫?"


def test_a_reader_that_leaves_a_windows_pipe(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    err = io.StringIO()
    for name, value in (("platform", "win32"), ("stdout", Left()), ("stderr", err)):
        monkeypatch.setattr(sys, name, value)
    assert cli.main(["inspect", str(tiny_bundle), "--json"]) == 1
    assert err.getvalue() == ""


def test_the_same_error_elsewhere_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> Model:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(model_module, "load", fail)
    monkeypatch.setattr(sys, "platform", "win32")
    assert "system: Invalid argument" in refused(run("run", "-p", "Hello?"), 1)


# ---- the device's note ----


def test_a_fallback_is_said_and_nothing_else(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = linked(tiny_bundle, tmp_path / "cuda")
    edit(folder, target="cuda")
    command = ("run", "-p", "Hello?", "--max-new-tokens", 1, "--greedy", "--model", folder)
    noted = run(*command)
    assert noted.code == 0
    assert noted.err.startswith("device: cpu (the bundle is built for CUDA, but ")
    assert noted.err.count("\n") == 1
    assert run(*command, "--device", "cpu").err == ""


# ---- help ----


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["convert", "--help"], ["inspect", "--help"]])
def test_help_fits_a_terminal(argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"omnilmm-lite {__version__}\n"
