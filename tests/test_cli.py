"""The command line's contract: what goes where, and one line for everything that can't be."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shutil
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

import cli
from omnilmm_lite import __version__
from omnilmm_lite import model as model_module
from omnilmm_lite.bundle import Bundle
from omnilmm_lite.console import ConsoleProgress, print_conversion, print_manifest
from omnilmm_lite.device import DeviceError
from omnilmm_lite.errors import InputError
from omnilmm_lite.manifest import MANIFEST, SCHEMA_VERSION, Manifest
from omnilmm_lite.model import Model, load
from omnilmm_lite.terminal.picture import Picture, open_file

ANSWER_KEYS = {"text", "tokens", "finish_reason", "timings", "device", "peak_rss_bytes"}
TIMING_KEYS = {
    "load_s", "vision_s", "prefill_s", "decode_s", "prompt_tokens", "new_tokens", "drafted_tokens", "accepted_tokens",
    "tokens_per_s",
}  # fmt: skip

load_once = functools.cache(load)

Run = Callable[..., "Result"]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.out)
        return data


class Terminal(io.StringIO):
    """A standard input that somebody sits at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process; each bundle is loaded once."""
    monkeypatch.setattr(model_module, "load", load_once)

    def call(*argv: object, stdin: IO[str] | None = None) -> Result:
        monkeypatch.setattr(sys, "stdin", stdin or Terminal())
        code = cli.main([str(word) for word in argv])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save_picture(tmp_path / "picture.png", seed=0)


def save_picture(path: Path, seed: int, width: int = 40, height: int = 30) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def refused(result: Result, code: int = 2) -> str:
    """The complaint, which is one line on stderr, with nothing on stdout."""
    assert (result.code, result.out) == (code, "")
    line, end = result.err[:-1], result.err[-1:]
    assert end == "\n"
    assert "\n" not in line
    assert line.startswith("omnilmm-lite: ")
    return line


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
    assert answer["peak_rss_bytes"] > 10 * 2**20
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
    opened: list[weakref.ref[Picture]] = []

    def counted(path: str) -> Picture:
        assert not any(earlier() for earlier in opened)
        picture = open_file(path)
        opened.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr("omnilmm_lite.terminal.picture.open_file", counted)
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
    assert "looks like a checkpoint" in refused(run(*command, tmp_path))
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


def linked(bundle: Path, folder: Path) -> Path:
    """A bundle of links, with a manifest of its own."""
    folder.mkdir()
    for path in bundle.iterdir():
        if path.name != MANIFEST:
            (folder / path.name).hardlink_to(path)
    shutil.copyfile(bundle / MANIFEST, folder / MANIFEST)
    return folder


def edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | changes), encoding="utf-8")


# ---- inspect ----


def test_inspect_shows_every_file_and_whether_it_was_verified(run: Run, tiny_bundle: Path) -> None:
    plain, verified = (run("inspect", tiny_bundle, *extra) for extra in ((), ("--verify",)))
    assert (plain.code, plain.err, verified.code, verified.err) == (0, "", 0, "")
    manifest = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        assert entry["path"] in plain.out
        assert f"{entry['size']:,}" in plain.out
        assert entry["sha256"][:16] in plain.out
    assert "not verified" in plain.out
    assert "not verified" not in verified.out


def test_inspect_json_is_the_manifest(run: Run, tiny_bundle: Path) -> None:
    result = run("inspect", tiny_bundle, "--json", "--verify")
    assert result.json == json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    assert (result.out.count("\n"), result.err) == (1, "")


def test_inspect_verify_names_the_damaged_file(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = linked(tiny_bundle, tmp_path / "damaged")
    path = folder / "resampler.onnx.data"
    data = bytearray(path.read_bytes())
    path.unlink()
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert run("inspect", folder).code == 0
    assert "resampler.onnx.data: the file is damaged" in refused(run("inspect", folder, "--verify"))


def test_a_bundles_name_is_not_markup(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = linked(tiny_bundle, tmp_path / "named")
    edit(folder, name="my[/bold] [red]model :cat:")
    assert "my[/bold] [red]model :cat:" in run("inspect", folder).out


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["", "[/x]", "lm_head", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def odd(**fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Any value, or an object that has some of these fields and any value in one or the other."""
    return json_values | st.fixed_dictionaries({}, optional={name: each | json_values for name, each in fields.items()})


figures = st.floats(0, 1) | json_values
odd_parity = odd(
    graphs=st.dictionaries(st.text(max_size=3), odd(difference=figures, tolerance=figures), max_size=3),
    tower_quality=odd(mean_cosine=figures, worst_cosine=figures),
    quality=odd(tokens=figures, mean_kld=figures, top1_agreement=figures),
)
odd_layer = odd(
    name=json_values,
    bits=st.integers(2, 8),
    group_size=st.integers(-1, 128),
    error_to_rounding=figures,
    error_to_output=figures,
)
odd_quantization = odd(
    tower=odd(blocks=st.lists(odd(worst_cosine=figures), max_size=4)),
    settings=json_values,
    projections=st.lists(odd_layer, max_size=4),
)


@given(parity=odd_parity, quantization=odd_quantization, folder=json_values)
def test_whatever_is_in_a_manifests_free_form_parts_is_no_error(
    tiny_bundle: Path, parity: Any, quantization: Any, folder: Any
) -> None:
    data = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    data |= {"parity": parity, "quantization": quantization, "source": {"folder": folder}}
    try:
        manifest = Manifest.from_json(json.dumps(data), Path(MANIFEST))
    except InputError:
        return  # the schema knows that these are objects
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")):  # as `main`
        print_manifest(manifest, verified=False)


def test_what_is_understood_of_a_manifest_is_shown_and_nothing_else(
    run: Run, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = linked(tiny_bundle, tmp_path / "odd")
    layer = {"bits": 4, "group_size": 128, "error_to_rounding": 0.5, "error_to_output": 0.01}
    edit(
        folder,
        source={},
        parity={
            "graphs": {"vision.onnx": {}, "decoder.onnx": {"difference": 1e-6, "tolerance": 0.1}},
            "tower_quality": {"mean_cosine": 0.9},
            "quality": ["tokens"],
        },
        quantization={
            "tower": {"blocks": [{}, {"worst_cosine": 0.95}, {"worst_cosine": "0.1"}]},
            "settings": {"bits": 4, "nested": {"no": 1}},
            "projections": [{"name": "a"} | layer, {"name": "b"}, layer, {"name": "c"} | layer | {"bits": "4"}],
        },
    )
    result = run("inspect", folder)
    assert (result.code, result.err) == (0, "")
    assert "from an unknown folder" in result.out
    assert result.out.partition("decoder.onnx: within")[2].splitlines()[:5] == [
        " 1.0e-06 of the reference (allowed: 0.1)",
        "tower in int8: worst token's cosine in calibration 0.9500, in block 2 of 3",
        "tower's blocks with a token below 0.99: 2",
        "quantization: bits 4",
        "1 linear layers at 4 bits in groups of 128",
    ]
    assert "vision.onnx: within" not in result.out


# ---- names that look like markup ----

ODD_NAME = "/data/[new]/out[/x] :cat:"


def test_progress_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def show() -> str:
        with ConsoleProgress() as progress:
            progress.note(f"note {ODD_NAME}")
            progress.stage(f"stage {ODD_NAME}", 2)
            progress.step(f"step {ODD_NAME}")
        return capsys.readouterr().err

    assert show().splitlines() == [f"note {ODD_NAME}", f"stage {ODD_NAME} (2 steps)"]
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "300"}.items():
        monkeypatch.setenv(name, value)
    bar = show()  # as on a terminal
    assert all(f"{line} {ODD_NAME}" in bar for line in ("note", "stage", "step"))


def test_a_conversion_is_shown_with_its_paths_as_they_are(
    capsys: pytest.CaptureFixture[str], tiny_bundle: Path
) -> None:
    print_conversion(Bundle.open(tiny_bundle).manifest, Path(ODD_NAME))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{ODD_NAME}: ")
    assert f" --model {ODD_NAME} " in lines[-1]


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
