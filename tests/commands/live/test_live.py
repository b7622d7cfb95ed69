"""`omnilmm-lite live`: by pipes, on a terminal, and what it refuses before anything is loaded."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite import model as model_module
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.frames.folder import PictureFolder
from tests.command_line import Run, refused, runner
from tests.live.media.scenes import SCENES, write_video
from tests.live.media.spoken import conversation, write_wav
from tests.live.sessions import shape
from tests.paths import ROOT
from tests.systems import HEED_INTERRUPTS, PYTHON, not_on_windows
from tests.terminal.emulated_terminal import CTRL_C, CTRL_D, ENTER, EmulatedTerminal

CTRL_T = "\x14"

RED = "The picture shows a red circle on a light background."
BLUE = "The picture shows a blue triangle on a light background."


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shape("red").save(tmp_path / "1.png")
    shape("blue", "triangle").save(tmp_path / "2.png")
    return tmp_path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "scenes.mp4", SCENES[:2], seconds=1.0)


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.PIPE}
    command = [*PYTHON, "cli.py", "live", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, **(HEED_INTERRUPTS | pipes | options))


def texts(out: str) -> list[str]:
    """The timeline's lines without their times."""
    return [line.partition(" ")[2] for line in out.splitlines()]


def test_the_timeline_goes_to_stdout_and_the_status_to_stderr(run: Run, folder: Path) -> None:
    result = run("live", "--source", folder, "--model", "tiny")
    assert result.code == 0
    assert texts(result.out) == [f"watching {folder} with tiny, answers by tiny", RED, BLUE, "(no more frames)"]
    assert "2 seen: 2 described, 0 unchanged, 0 dropped" in result.err


def test_another_prompt_and_threshold(run: Run, folder: Path) -> None:
    result = run("live", "--source", folder, "--model", "tiny", "-p", "What is this?", "--threshold", "1")
    assert [each for each in texts(result.out) if each.startswith("This")] == ["This is a red circle."]
    assert "1 described, 1 unchanged" in result.err


def test_questions_come_by_a_pipe(folder: Path) -> None:
    program = process("--source", folder, "--greedy", "--look", "always", "--model", "tiny")
    out, err = program.communicate("What is this?\n\nWhat do you see?")
    assert program.returncode == 0, err
    answers = [each for each in texts(out) if each.startswith("> ")]
    assert len(answers) == 2
    assert answers[0] in (
        "> This is a red circle. [looked at frame 1]",
        "> This is a blue triangle. [looked at frame 2]",
    )
    assert answers[1].startswith("> I see a ")


def test_a_source_that_breaks_in_the_middle_is_a_failure(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(source: PictureFolder) -> None:
        raise OmniLMMError("the disk was unplugged")

    monkeypatch.setattr(PictureFolder, "read", read)
    result = run("live", "--source", folder, "--model", "tiny")
    assert result.code == 1
    assert "! capture: the disk was unplugged" in result.out
    assert result.err.splitlines()[-1] == "omnilmm-lite: the disk was unplugged"


@not_on_windows
def test_ctrl_c_ends_it(video: Path) -> None:
    program = process("--source", video, "--model", "tiny")
    assert program.stdout is not None
    assert "watching" in program.stdout.readline()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate()
    assert program.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--source", "nowhere"), "--source: there is no nowhere"),
        (("--source", "camera:97"), "camera:97: "),
        (("--every", "-1"), "--every: -1 is out of range"),
        (("--window", "0"), "--window: 0 is out of range"),
        (("--threshold", "2"), "--threshold: 2 is out of range"),
        (("--temperature", "-1"), "temperature"),
        (("--llm", "nonsense"), "--llm: nonsense is no address"),
        (("--llm", "http://127.0.0.1:9/v1"), "--llm: http://127.0.0.1:9/v1 can't be reached"),
        (("--llm-model", "x"), "--llm-model: it names an endpoint's model"),
        (("--ears", "ear"), "--ears ear"),
        (("--push-to-talk",), "there are no ears to listen with"),
        (("--voice", "bass"), "--voice bass"),
        (("--model", "no-such-model"), "no-such-model"),
    ],
)
def test_what_is_wrong_is_said_before_the_model_is_loaded(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(model_module, "load", load)
    source = () if "--source" in words else ("--source", folder)
    assert said in refused(run("live", *source, *words))


# ---- on a terminal ----

Start = Callable[..., EmulatedTerminal]


@pytest.fixture
def start(video: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[EmulatedTerminal] = []

    def call(*words: object) -> EmulatedTerminal:
        command = [*PYTHON, str(ROOT / "cli.py"), "live", "--source", str(video), "--greedy", "--model", "tiny"]
        started.append(EmulatedTerminal([*command, *map(str, words)], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}))
        return started[-1]

    yield call
    for each in started:
        each.kill()


@not_on_windows
def test_a_person_asks_while_it_watches(start: Start) -> None:
    terminal = start()
    terminal.wait_for(SCENES[0].description)
    terminal.wait_for(SCENES[1].description)
    terminal.wait_for(" seen: 2 described")
    terminal.wait_for("Ctrl-D ends")
    terminal.wait_for("(no more frames)")  # and it goes on
    terminal.type("Is there an owl?", ENTER)
    terminal.wait_for("> Yes, there is an owl. [looked at frame ")
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0


@not_on_windows
def test_a_key_begins_and_ends_what_is_said(start: Start, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "question.wav", conversation("What is this?", lead_s=0.0, between_s=60.0))
    terminal = start("--ears", "pocketsphinx", "--push-to-talk", "--microphone", sound)
    terminal.wait_for("Ctrl-T begins")
    terminal.type(CTRL_T)
    terminal.wait_for("listening: Ctrl-T when you have asked")
    terminal.type(CTRL_T)
    terminal.wait_for("Ctrl-T begins")
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0


@not_on_windows
def test_ctrl_c_ends_it_on_a_terminal(start: Start) -> None:
    terminal = start()
    terminal.wait_for(SCENES[0].description)
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 130
    assert "Traceback" not in terminal.text
