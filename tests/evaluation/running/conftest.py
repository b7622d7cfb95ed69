"""Small data files of every benchmark, and one run over all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import main
from tests.evaluation.mini_sets import write_all

OPTIONS = ("--max-new-tokens", "16", "--threads", "1")


@pytest.fixture(scope="session")
def mini_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    return write_all(tmp_path_factory.mktemp("mini-sets"))


@pytest.fixture(scope="session")
def whole_run(mini_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `eval all`, never stopped; to be read only."""
    out = tmp_path_factory.mktemp("runs") / "all"
    assert main(["eval", "all", "--data", str(mini_sets), "-o", str(out), *OPTIONS]) == 0
    return out
