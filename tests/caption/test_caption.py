"""`omnilmm-lite caption` as a whole, with the built-in model."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli import main
from omnilmm_lite import load
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.caption.describer import Describer
from omnilmm_lite.caption.folder_run import FolderRun
from omnilmm_lite.caption.loading import Loaded, load_picture
from omnilmm_lite.caption.output import Output
from omnilmm_lite.caption.wording import Wording
from omnilmm_lite.commands.caption import DEFAULT_PROMPT
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.vision import CACHED_PICTURES
from omnilmm_lite.model import Model
from omnilmm_lite.picture.decoding_process import DecodingEnded, DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.listing import Filter, list_pictures
from omnilmm_lite.picture.prepared_image import PreparedImage, prepare
from omnilmm_lite.sampling_params import SamplingParams
from tests.commands.test_cli_process import process
from tests.files.another_run import another_run
from tests.systems import not_on_windows, odd_names

COUNT = 12
TINY = Bundle.find(None).manifest.config.vision


def noise(seed: int) -> Image.Image:
    return Image.frombytes("RGB", (4, 4), random.Random(seed).randbytes(48))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve small pictures, the last one damaged."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        noise(number).save(folder / f"{number:02}.png")
    (folder / f"{COUNT - 1:02}.png").write_bytes(b"\x89PNG cut short")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def lines(out: Path) -> list[dict[str, Any]]:
    """What two runs must have in common: everything but the seconds."""
    read = [json.loads(line) for line in out.read_bytes().splitlines()]
    return [{name: value for name, value in line.items() if name != "timings"} for line in read]


def caption(folder: Path, out: Path, *options: str) -> int:
    return main(["caption", str(folder), "-o", str(out), "--greedy", "--threads", "1", *options])


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    return process(["cli.py", "caption", str(folder), "-o", str(out), "--greedy", "--threads", "1"])


def wait_for_lines(out: Path, count: int, program: subprocess.Popen[str]) -> None:
    while program.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < count):
        time.sleep(0.001)


def test_each_line_is_what_a_chat_answers(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert caption(folder, out) == 0
    assert f"{COUNT - 1} described, 1 could not be read, 0 had a line already" in capsys.readouterr().err
    found = lines(out)
    assert [line["path"] for line in found] == [f"{number:02}.png" for number in range(COUNT)]
    model = load(threads=1)
    for line in found[:3]:
        assert line["text"] == model.chat(folder / line["path"]).ask(DEFAULT_PROMPT, greedy=True)
        assert line["finish_reason"] == "stop"
        assert line["model"].startswith("tiny@")
    assert "text" not in found[-1]
    assert found[-1]["error"].startswith("picture: ")


@pytest.mark.parametrize("times", [1, 2])
def test_a_decoder_that_the_system_ends_costs_its_picture_at_most(
    folder: Path, out: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[PictureFile] = []

    def prepare(process: DecodingProcess, file: PictureFile, config: VisionConfig) -> PreparedImage:
        if file.data == (folder / "03.png").read_bytes() and len(ended) < times:
            ended.append(file)
            raise DecodingEnded("picture: its decoding was ended")
        return decode(process, file, config)

    decode = DecodingProcess.prepare
    monkeypatch.setattr(DecodingProcess, "prepare", prepare)
    assert caption(folder, out) == 0
    assert [line["path"] for line in lines(out)] == [f"{number:02}.png" for number in range(COUNT)]
    assert [line["path"] for line in lines(out) if "error" in line] == ["03.png"] * (times - 1) + ["11.png"]
    assert caption(folder, out, "--retry-errors") == 0
    assert {line["path"] for line in lines(out) if "text" in line} == {
        f"{number:02}.png" for number in range(COUNT - 1)
    }


def test_the_default_prompt_fits_the_model() -> None:
    answer = load().chat("examples/pictures/cat.png").ask(DEFAULT_PROMPT, greedy=True)
    assert "cat" in answer


@pytest.mark.parametrize("point", [0, 1, 5, COUNT - 1])
def test_after_a_kill_the_next_run_completes_the_same_lines(folder: Path, out: Path, point: int) -> None:
    whole = out.with_name("whole.jsonl")
    assert caption(folder, whole) == 0
    program = start(folder, out)
    wait_for_lines(out, point, program)
    program.kill()
    program.communicate()
    before = out.read_bytes()
    assert before.count(b"\n") >= point
    out.write_bytes(before + b'{"path": "05.p')  # what a lost power supply leaves
    assert caption(folder, out) == 0
    assert out.read_bytes().startswith(before)
    assert lines(out) == lines(whole)


@not_on_windows
def test_ctrl_c_keeps_what_is_written_and_says_how_to_go_on(folder: Path, out: Path) -> None:
    for number in range(COUNT, 300):
        noise(number).save(folder / f"{number}.png")
    program = start(folder, out)
    wait_for_lines(out, 3, program)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate()
    assert program.returncode == 130
    assert "Traceback" not in err
    assert "stopped: " in err
    assert "the same command goes on" in err
    assert 3 <= len(lines(out)) < 300
    assert out.read_bytes().endswith(b"\n")


def test_a_second_run_does_only_what_is_new(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caption(folder, out)
    before = out.read_bytes()
    assert caption(folder, out) == 0
    assert out.read_bytes() == before
    noise(77).save(folder / "03.png")
    noise(3).save(folder / "new.png")
    capsys.readouterr()
    assert caption(folder, out) == 0
    assert f"2 described, 0 could not be read, {COUNT - 1} had a line already" in capsys.readouterr().err
    assert out.read_bytes().startswith(before)
    changed, new = lines(out)[COUNT:]
    assert (changed["path"], new["path"]) == ("03.png", "new.png")
    old = lines(out)[3]
    assert changed["sha256"] != old["sha256"]
    assert (new["sha256"], new["text"]) == (old["sha256"], old["text"])


def test_two_at_once_do_no_picture_twice(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = start(folder, out)
    wait_for_lines(out, 1, first)
    found = caption(folder, out)  # refused, but where the first was done meanwhile
    assert first.wait() == 0
    assert found == (2 if "another run is writing there" in capsys.readouterr().err else 0)
    assert sorted(line["path"] for line in lines(out)) == [f"{number:02}.png" for number in range(COUNT)]


def test_one_who_comes_second_is_told_before_anything_is_read(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_run(out) as other:
        assert caption(folder, out) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"process {other.pid} on" in error
    assert not out.exists() and caption(folder, out) == 0


def test_errors_are_tried_again_when_asked_for_and_when_the_file_changed(folder: Path, out: Path) -> None:
    caption(folder, out)
    caption(folder, out)
    assert len(lines(out)) == COUNT
    caption(folder, out, "--retry-errors")
    assert [line.get("error") for line in lines(out)[-2:]] == [lines(out)[COUNT - 1]["error"]] * 2
    noise(0).save(folder / f"{COUNT - 1}.png")
    caption(folder, out)
    assert lines(out)[-1]["text"] == lines(out)[0]["text"]


def test_nothing_to_do_loads_no_model(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caption(folder, out)
    monkeypatch.setattr("omnilmm_lite.model.load", lambda *_, **__: pytest.fail("loaded"))
    assert caption(folder, out) == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-p", "Why?"], "prompt was 'Describe this picture.', is 'Why?'"),
        (["--top-k", "3"], "top_k was 30, is 3"),
        (["--model", "{bundle}"], "model was 'tiny@"),
    ],
)
def test_changed_arguments_are_refused(
    folder: Path, out: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    caption(folder, out)
    before = out.read_bytes()
    assert caption(folder, out, *[option.format(bundle=tiny_bundle) for option in options]) == 2
    assert named in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.parametrize("options", [["-p", " "], ["--top-p", "2"], ["--model", "nowhere"], ["--include", "*.bmp"]])
def test_wrong_usage_is_2_and_makes_no_file(folder: Path, out: Path, options: list[str]) -> None:
    assert caption(folder, out, *options) == 2
    assert not out.exists()


def test_an_empty_folder_is_2(tmp_path: Path, out: Path) -> None:
    assert caption(tmp_path, out) == 2


def test_the_output_may_lie_in_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "00.jsonl"
    for _ in range(2):
        assert caption(folder, out, "--include", "*") == 0
    assert len(lines(out)) == COUNT


def test_odd_names_come_back(tmp_path: Path, out: Path) -> None:
    names = odd_names()
    folder = tmp_path / "~"
    folder.mkdir()
    for name in names:
        noise(1).save(folder / "new.gif")
        (folder / "new.gif").rename(folder / name)
    assert caption(folder, out) == 0
    assert {line["path"] for line in lines(out)} == names
    assert all("text" in line for line in lines(out))


def time_shared(model: Model) -> Model:
    """The model as it is where the tower has to make room for the decoder."""
    model.parts = dataclasses.replace(model.parts, takes_turns=True)
    model.vision._release_after = True
    return model


class Openings:
    """Counts how often the tower is opened, and how many pictures go through it."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.towers = self.pictures = 0
        open_tower = model.vision._open_tower

        def opened() -> Any:
            self.towers += 1
            encode = open_tower()

            def counted(pixels: Any) -> Any:
                self.pictures += 1
                return encode(pixels)

            return counted

        monkeypatch.setattr(model.vision, "_open_tower", opened)


def loaded(seeds: Iterator[int]) -> Iterator[Loaded]:
    return (Loaded(f"{number}.png", "hash", prepare(noise(seed), TINY)) for number, seed in enumerate(seeds))


@pytest.mark.parametrize(("shared", "towers"), [(True, 3), (False, 1)])
def test_a_time_shared_tower_is_opened_once_a_window(
    monkeypatch: pytest.MonkeyPatch, shared: bool, towers: int
) -> None:
    model: Model = load(threads=1)
    if shared:
        model = time_shared(model)
    openings = Openings(model, monkeypatch)
    count = 2 * CACHED_PICTURES + 1
    describer = Describer(model, "Why?", SamplingParams.greedy(max_new_tokens=2))
    paths = [outcome.path for outcome in describer.describe(loaded(iter(range(count))))]
    assert paths == [f"{number}.png" for number in range(count)]
    assert (openings.towers, openings.pictures) == (towers, count)


def test_a_window_changes_no_answer() -> None:
    params = SamplingParams.greedy(max_new_tokens=8)
    texts = []
    for model in (load(threads=1), time_shared(load(threads=1))):
        outcomes = Describer(model, DEFAULT_PROMPT, params).describe(loaded(iter(range(5))))
        texts.append([outcome.line["text"] for outcome in outcomes if outcome.line is not None])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 5


def test_a_name_that_can_be_asked_nothing_about_costs_its_picture_alone() -> None:
    """Names on Linux are bytes, and those that are no text come as surrogates."""
    model = load(threads=1)
    for prompt, bad, said in (("{name}: what is this?", "\udcff", "a lone surrogate"), ("{name}", " ", "is empty")):
        describer = Describer(model, Wording.read(prompt), SamplingParams.greedy(max_new_tokens=2))
        named = zip(loaded(iter(range(3))), ("a", bad, "b"), strict=True)
        pictures = (dataclasses.replace(each, fields={"name": name}) for each, name in named)
        first, failed, last = (outcome.line or {} for outcome in describer.describe(pictures))
        assert said in failed["error"] and failed["sha256"] == "hash"
        assert [first["prompt"], last["prompt"]] == [prompt.replace("{name}", name) for name in "ab"]


def test_equal_pictures_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(threads=1)
    openings = Openings(model, monkeypatch)
    describer = Describer(model, "Why?", SamplingParams.greedy(max_new_tokens=2))
    assert len(list(describer.describe(loaded(iter([1, 2, 1, 1, 2]))))) == 5
    assert openings.pictures == 2


def test_what_the_reading_thread_raises_ends_the_run(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(where: Path, path: str, **rest: Any) -> Loaded:
        if path == "02.png":
            raise MemoryError
        return load_picture(where, path, **rest)

    monkeypatch.setattr("omnilmm_lite.caption.folder_run.load_picture", broken)
    assert caption(folder, out) == 1
    assert "the memory is not enough" in capsys.readouterr().err
    assert [line["path"] for line in lines(out)] == ["00.png", "01.png"]
    monkeypatch.undo()
    assert caption(folder, out) == 0
    assert len(lines(out)) == COUNT


def test_a_run_that_is_left_ends_its_threads(folder: Path, out: Path) -> None:
    model = load(threads=1)
    job = FolderRun(
        folder,
        [list_pictures(folder, Filter()).paths],
        Output(out, {"prompt": "Why?"}),
        TINY,
        lambda: Describer(model, "Why?", SamplingParams.greedy(max_new_tokens=2)),
    )
    outcomes = job.run()
    next(outcomes)
    del outcomes
    assert not [each for each in threading.enumerate() if each.name.startswith(("prefetch", "background"))]
    assert len(lines(out)) == 1
