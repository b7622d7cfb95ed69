"""`make check-card`: what is run, kept and made again, how a stage is ended, and what happens without a card."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.card import __main__ as program
from benchmarks.card import background, child
from benchmarks.card.card import made_with
from benchmarks.card.result import Result, number
from benchmarks.card.run import Json, Run
from benchmarks.card.stage import STAGES, Stage, find_stage
from benchmarks.card.stages.build import wait_for
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.machine.card import Card, Cards
from tests.systems import not_on_windows

RTX = Card(0, "NVIDIA GeForce RTX 4090", 24564 << 20, 24000 << 20, (8, 9))
MADE = {"card": "none", "device": "cpu", "size": "small"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    found = Run(tmp_path / "work", tmp_path / "bundles", Device.CPU, small=True)
    found.save()
    return found


# ---- a process with a limit ----


def test_a_stage_that_takes_too_long_ends_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; held = subprocess.Popen(['sleep', '600']); print(held.pid, flush=True); "
        "time.sleep(600)"
    )
    ended = child.run([sys.executable, "-c", code], tmp_path / "log", 2.0)
    assert ended.failure is not None
    assert ended.failure.startswith("stopped at its limit of 2 s; the last line of its log: ")
    pid = (tmp_path / "log").read_text().strip()
    if sys.platform == "linux":
        for _ in range(100):  # until init has taken it away
            status = Path("/proc") / pid / "status"
            if not status.is_file() or "State:\tZ" in status.read_text():
                return
            time.sleep(0.05)
        pytest.fail(f"{pid} is still there")


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("print('fine')", None),
        ("import sys; print('first'); sys.exit('no such card')", "exit code 1; the last line of its log: no such card"),
        ("import sys; sys.exit(3)", "exit code 3; its log is empty"),
    ],
)
def test_a_stage_that_ends_says_how(tmp_path: Path, code: str, failure: str | None) -> None:
    assert child.run([sys.executable, "-c", code], tmp_path / "log", 60).failure == failure


@not_on_windows
def test_a_stage_that_crashes_says_by_what(tmp_path: Path) -> None:
    code = "import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    ended = child.run([sys.executable, "-c", code], tmp_path / "log", 60)
    assert ended.failure == f"ended by {signal.SIGSEGV.name}; the last line of its log: begun"


# ---- what is kept ----


def test_what_a_stage_saved_outlives_its_crash(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(command: object, log: Path, limit_s: float) -> child.Ended:
        write_json(run.partial("products"), {"rows": [1, 2]})
        return child.Ended(3.21, "ended by SIGSEGV; its log is empty")

    monkeypatch.setattr(child, "run", crashes)
    result = program.run_stage(run, find_stage("products"), MADE, 60)
    assert (result.data, result.failure) == ({"rows": [1, 2]}, "ended by SIGSEGV; its log is empty")
    assert Result.read(run.result("products")) == result
    assert not program.is_done(run, find_stage("products"), MADE)  # it has another go


def test_an_earlier_go_is_not_taken_for_this_one(run: Run) -> None:
    """The stage doesn't exist, so its process dies before it has saved anything."""
    write_json(run.partial("nothing"), {"rows": ["old"]})
    result = program.run_stage(run, Stage("nothing", "Nothing", 60, "nothing:measure"), MADE, 60)
    assert result.data == {}
    assert result.failure == "exit code 1; the last line of its log: KeyError: 'nothing'"


def recorder(asked: list[str], failing: tuple[str, ...] = ()) -> Callable[..., Result]:
    def run_stage(run: Run, stage: Stage, made: dict[str, str], limit_s: float) -> Result:
        asked.append(stage.name)
        failure = "it died" if stage.name in failing else None
        result = Result(stage.name, made, "2026-11-29 12:00", 1.0, failure, {})
        result.write(run.result(stage.name))
        return result

    return run_stage


def test_only_what_has_no_result_is_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [find_stage(name) for name in ("environment", "tiny", "products")]
    asked: list[str] = []
    monkeypatch.setattr(program, "run_stage", recorder(asked, failing=("tiny",)))
    program.measure(run, stages, MADE, 1000, {})
    assert asked == ["environment", "tiny", "products"]
    monkeypatch.setattr(program, "run_stage", recorder(asked))
    program.measure(run, stages, MADE, 1000, {})
    assert asked[3:] == ["tiny"]
    program.measure(run, stages, MADE, 1000, {})
    assert asked[4:] == []
    program.measure(run, stages, {**MADE, "driver": "581.1"}, 1000, {})
    assert asked[4:] == ["environment", "tiny", "products"]


def test_a_damaged_result_is_made_again(run: Run) -> None:
    run.result("tiny").write_text("{", encoding="utf-8")
    assert not program.is_done(run, find_stage("tiny"), MADE)


def test_the_budget_leaves_out_what_comes_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(program, "run_stage", recorder(asked))
    skipped: dict[str, str] = {}
    program.measure(run, [find_stage("tiny")], MADE, program.LEAST_S - 1, skipped)
    assert asked == []
    assert skipped == {"tiny": "the budget of 14 s had ended: the same command goes on here"}


def test_the_most_valuable_stages_come_first() -> None:
    names = [stage.name for stage in STAGES]
    assert names[:3] == ["environment", "tiny", "products"]
    assert names[-1] == "fit"


def test_another_card_or_version_is_another_machine() -> None:
    found = made_with(Cards((RTX,), driver="580.1"), Device.CUDA, "full")
    assert found["card"] == "NVIDIA GeForce RTX 4090, 24564 MiB, compute capability 8.9"
    assert found["driver"] == "580.1"
    assert made_with(Cards((RTX,), driver="580.1"), Device.CPU, "full")["card"] == "none"
    assert found != made_with(Cards((RTX,), driver="581.1"), Device.CUDA, "full")


def test_numbers_that_json_has_no_word_for() -> None:
    assert number(float("nan")) is None
    assert number(float("inf")) is None
    assert number(123456.0) == 123500.0


def test_a_card_s_results_outlive_a_run_without_it(run: Run) -> None:
    on_card = Run(run.work, run.bundles, Device.CUDA)
    on_card.save()
    assert on_card.result("tiny") != run.result("tiny")
    assert on_card.result("tiny").parent.is_dir()


def test_shared_memory_is_given_back(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for stage in STAGES:
        Result(stage.name, MADE, "2026-11-29 12:00", 1.0, None, {}).write(run.result(stage.name))
    program.tidy(run, MADE)
    assert run.bundles.is_dir()  # a folder of the user's own choice
    monkeypatch.setattr(program, "SHARED_MEMORY", tmp_path)
    program.tidy(run, {**MADE, "driver": "581"})
    assert run.bundles.is_dir()
    program.tidy(run, MADE)
    assert not run.bundles.exists()


# ---- bundles in the background ----


def test_waiting_ends_where_nothing_is_being_built(run: Run) -> None:
    with background.building(run, [find_stage("tiny")]):
        assert run.build_ended.is_file()  # nothing was needed
    run.log("synthetic").write_text("no room\n", encoding="utf-8")
    with pytest.raises(OmniLMMError, match="was not made; the build's last line: no room"):
        wait_for(run, run.bundles / "24gb")


def test_a_folder_without_room_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(program, "run_stage", recorder(asked))
    monkeypatch.setattr(program, "lacks_room", background.lacks_room)
    monkeypatch.setattr(program, "missing_bytes", lambda run, stages: round(1e15))
    skipped: dict[str, str] = {}
    program.measure(run, [find_stage("speed"), find_stage("tiny")], MADE, 1000, skipped)
    assert asked == ["tiny"]
    assert "the bundles need 1000000.0 GB in" in skipped["speed"]


# ---- the command ----


def test_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(program, "read_cards", lambda: Cards(reason="no NVIDIA driver was found"))
    words = ["--work", str(tmp_path), "--bundles", str(tmp_path / "b"), "--stages", "environment,speed"]
    assert program.main(words) == 0
    out, err = capsys.readouterr()
    assert err.startswith("no card was checked (no NVIDIA driver was found): ")
    assert "## The card's stages, tried on the CPU" in out
    assert "* speed: it needs a card" in out
    assert "| cpu | works |" in out
    data: Json = json.loads((tmp_path / "report.json").read_text())
    assert data["made_with"]["card"] == "none"
    assert list(data["results"]) == ["environment"]
    assert (tmp_path / "report.md").read_text() == out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stages", "tiny,speeed"], "--stages: 'speeed' is unknown; choose of environment,tiny,"),
        (["--budget", "0"], "--budget: 0 is out of range; give seconds above 0"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert program.main(["--work", str(tmp_path / "work"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "work").exists()
