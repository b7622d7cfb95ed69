"""`omnilmm-lite pull`: what it says before, while and after, and what it asks."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from omnilmm_lite.commands import pull as command
from omnilmm_lite.home.models import ModelStore
from tests.command_line import Run, Terminal, refused, runner
from tests.hub.conftest import CHECKPOINT, checkpoint_files
from tests.hub.local_hub import Fault, LocalHub
from tests.hub.test_other_sources import bundle_files
from tests.paths import ROOT
from tests.systems import not_on_windows

NAME = "somebody/a-model"


@pytest.fixture
def run(hub: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)


@not_on_windows
def test_it_says_what_it_takes_and_what_is_next(hub: LocalHub, run: Run, tmp_path: Path) -> None:
    hub.add(NAME, checkpoint_files())
    place = tmp_path / "with blank"
    done = run("pull", NAME, "--to", place)
    assert (done.code, done.out) == (0, f"{place}\n")
    lines = done.err.splitlines()
    assert lines[0] == f"connecting to 127.0.0.1:{hub.port}"
    assert lines[1].startswith(f"127.0.0.1:{hub.port}/{NAME}@")
    assert lines[1].endswith("0.3 MB")
    assert lines[2].startswith(f"to {place}, where ")
    assert lines[3].startswith("conversion with --preset cpu will then take ")
    assert "pytorch_model.bin (0.3 MB)" in lines
    following = shlex.split(lines[-1].partition("next: ")[2])
    assert following == ["omnilmm-lite", "convert", str(place), "a-model-cpu", "--preset", "cpu"]


def test_the_real_checkpoint_s_folder_is_taken_where_it_lies(run: Run) -> None:
    done = run("pull", CHECKPOINT)
    assert (done.code, done.out) == (0, f"{CHECKPOINT}\n")
    assert "convert" in done.err


def test_a_bundle_has_a_name_afterwards(hub: LocalHub, run: Run) -> None:
    hub.add("somebody/my-bundle", bundle_files())
    done = run("pull", "ms:somebody/my-bundle")
    assert done.code == 0, done.err
    assert "omnilmm-lite run --model" in done.err
    found = ModelStore.here().get("my-bundle")
    assert found.is_in_store
    assert found.record.origin == f"127.0.0.1:{hub.port}/somebody/my-bundle@master"
    assert "is the name of another model" in run("pull", "somebody/my-bundle").err
    ModelStore.here().remove("my-bundle")
    done = run("pull", "somebody/my-bundle")
    assert ModelStore.here().get("my-bundle").folder == Path(done.out.strip())


def test_what_conversion_will_not_find_room_for_is_said(
    hub: LocalHub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, checkpoint_files())
    monkeypatch.setattr("omnilmm_lite.hub.pull.free_bytes", lambda path: 1_000_000)
    assert "so convert to another disk" in run("pull", NAME).err


def test_another_model_s_config_is_refused_before_its_weights_come(hub: LocalHub, run: Run) -> None:
    hub.add(NAME, checkpoint_files() | {"config.json": b'{"model_type": "llama"}'})
    done = run("pull", NAME)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(f"omnilmm-lite: 127.0.0.1:{hub.port}/{NAME}@")
    assert not hub.asked("/lfs/")


class TerminalError(Terminal):
    """A standard error that somebody sits at."""


@pytest.mark.parametrize(("answer", "comes"), [("\n", True), ("y\n", True), ("n\n", False), ("", False)])
def test_at_a_terminal_it_asks(
    hub: LocalHub, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, comes: bool
) -> None:
    hub.add(NAME, checkpoint_files())
    monkeypatch.setattr(sys, "stderr", shown := TerminalError())
    done = run("pull", NAME, stdin=Terminal(answer))
    assert (done.code == 0) is comes
    assert "fetch 0.3 MB? [Y/n]" in shown.getvalue()
    assert bool(hub.asked("/lfs/")) is comes
    hub.requests.clear()
    assert run("pull", NAME, "--yes", stdin=Terminal("")).code == 0


def test_ctrl_c_says_how_to_go_on(hub: LocalHub, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, checkpoint_files())

    def stop(self: object, count: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.PullProgress, "received", stop)
    done = run("pull", NAME)
    assert done.code == 130
    assert done.err.splitlines()[-1] == "stopped: what has come is kept, and the same command goes on"


NO_NAMES = ["OmniLMM-12B", "../..", "https://", "hf:", "~nobody-here/x", "./" + "x" * 300, "./a\0b", "/dev/null", ""]


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_are_none(run: Run, name: str) -> None:
    refused(run("pull", name))


def test_a_failure_is_one_line_behind_what_was_said(hub: LocalHub, run: Run) -> None:
    hub.add(NAME, checkpoint_files())
    hub.fail("/lfs/", Fault.STATUS, status=404, times=99)
    done = run("pull", NAME)
    assert done.code == 1
    assert done.err.splitlines()[-1] == f"omnilmm-lite: localhost:{hub.port} has no such file (404)"
    assert not done.out


def test_from_and_revision(hub: LocalHub, run: Run) -> None:
    repo = hub.add(NAME, checkpoint_files())
    assert run("pull", NAME, "--from", "modelscope").out.strip().endswith("a-model")
    assert run("pull", NAME, "--from", "huggingface", "--revision", repo.commit).out.strip().endswith(repo.commit)
    refused(run("pull", f"ms:{NAME}", "--from", "huggingface"))


def test_nothing_is_imported_before_it_is_needed() -> None:
    """`--help` is instant."""
    code = "import cli, sys; cli.build_parser(); print('huggingface_hub' in sys.modules, 'httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
