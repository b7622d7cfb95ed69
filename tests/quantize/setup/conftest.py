"""A hub on this machine that serves a small checkpoint under the published name, and a home of its own."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from quantize.setup import proposal, steps
from quantize.setup.state import SetupState
from tests.command_line import Run, runner
from tests.hub.conftest import hub as hub
from tests.hub.local_hub import LocalHub
from tests.small_checkpoint import TINY, Form, write_checkpoint

NAME = "openbmb/OmniLMM-12B"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small checkpoint: one whose weights are none that were published under that name."""
    folder = write_checkpoint(
        tmp_path_factory.mktemp("published"), form=Form.SAFETENSORS, size=TINY, vision_config=True
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where conversions are kept that later tests need not do again."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(autouse=True)
def seconds_saved(monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    """The machine is looked at once, and what a preset makes of the one checkpoint is copied from then on."""
    convert_into = steps.convert_into

    def convert_once(out: Path, state: SetupState, work: Path) -> None:
        kept = made / f"{state.preset}"
        if not kept.is_dir():
            convert_into(kept, state, work)
        shutil.copytree(kept, out)

    monkeypatch.setattr(steps, "convert_into", convert_once)
    monkeypatch.setattr(proposal, "look_at_machine", look_once)


look_once = functools.cache(proposal.look_at_machine)


@pytest.fixture
def home(tmp_path: Path, hub: LocalHub) -> Path:
    """Which the hub's fixture has set."""
    return tmp_path / "home"


@pytest.fixture
def serving(hub: LocalHub, published: dict[str, bytes]) -> LocalHub:
    hub.add(NAME, published)
    return hub


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path) -> Run:
    return runner(capsys, monkeypatch)
