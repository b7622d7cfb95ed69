"""A home of its own for each test, and two small bundles to name."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnilmm_lite.home.model_record import ModelKind, ModelRecord
from omnilmm_lite.home.models import ModelStore
from tests.command_line import Run, linked, runner


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("OMNILMM_HOME", str(folder))
    return folder


@pytest.fixture
def store(home: Path) -> ModelStore:
    return ModelStore(home)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path) -> Run:
    return runner(capsys, monkeypatch)


@pytest.fixture
def model(store: ModelStore, tiny_bundle: Path) -> Path:
    """A bundle with random weights, by the name `mine`."""
    store.models_folder.mkdir(parents=True)
    folder = linked(tiny_bundle, store.folder("mine"))
    store.add("mine", ModelRecord(ModelKind.BUNDLE, origin="a-hub/mine@1"))
    return folder
