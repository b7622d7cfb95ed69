"""What `eval --ray` refuses before a cluster is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnilmm_lite.cluster import connection
from tests.command_line import Run, refused, runner
from tests.paths import ROOT

run = pytest.fixture(runner)

CHECKPOINT = str(ROOT / "examples" / "tiny" / "checkpoint")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ray", "--model", CHECKPOINT), "is a checkpoint, and nodes are given bundles; convert it first"),
        (("--ray", "--model", "tiny", "--against", CHECKPOINT), "is a checkpoint, and nodes are given bundles"),
        (("--ray", "--workers", "0"), "--workers 0: give 1 or more"),
        (("--ray", "--batch", "-1"), "--batch -1: give 1 or more"),
        (("--ray", "--parallel", "99"), "--parallel: '99' is out of range"),
        (("--ray", "--deliver", "pull"), "it needs --pull NAME"),
        (("--ray", "--pull", "me/mine"), "it needs --pull NAME"),
        (("--ray", "--deliver", "pull", "--pull", "me/mine", "--against", "tiny"), "--against: nodes pull one model"),
        (("--ray", "ray://head:10001"), "make this machine a node"),
        (("--workers", "2"), "--workers: it is for --ray"),
        (("--deliver", "store"), "--deliver: it is for --ray"),
    ],
)
def test_refused(
    words: tuple[str, ...], said: str, run: Run, mini_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(connection, "find_spec", lambda name: True)
    assert said in refused(run("eval", "easyvqa", "--data", mini_sets, "-o", tmp_path / "out", *words))
    assert not [*tmp_path.glob("out/*")]


def test_without_ray_it_says_what_to_install(
    run: Run, mini_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    assert "omnilmm-lite[ray]" in refused(
        run("eval", "easyvqa", "--data", mini_sets, "-o", tmp_path / "out", "--model", "tiny", "--ray")
    )
    assert not (tmp_path / "out").exists()
