"""What `caption --ray` refuses before a cluster is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omnilmm_lite.caption.scale.cluster import run as run_module
from omnilmm_lite.cluster import connection
from tests.command_line import Run, refused, runner
from tests.paths import ROOT

run = pytest.fixture(runner)

CAPTION = ("caption", str(ROOT / "examples" / "pictures"), "--model", "tiny")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ray", "-o", "out", "--txt"), "--txt: it doesn't go with --ray"),
        (("--ray", "-o", "out", "--shard", "1/2"), "--shard: it doesn't go with --ray"),
        (("--ray", "-o", "out", "--resident"), "--resident: it doesn't go with --ray"),
        (("--ray", "-o", "out", "-p", " "), "the prompt is empty"),
        (("--ray",), "name a folder for the parts after -o"),
        (("--ray", "-o", "-"), "name a folder for the parts after -o"),
        (("--ray", "-o", "out", "--workers", "0"), "--workers 0: give 1 or more"),
        (("--ray", "-o", "out", "--deliver", "pull"), "it needs --pull NAME"),
        (("--ray", "-o", "out", "--temperature", "-1"), "temperature"),
        (("-o", "out.jsonl", "--workers", "2"), "--workers: it is for --ray"),
        (("-o", "out.jsonl", "--deliver", "store"), "--deliver: it is for --ray"),
    ],
)
def test_refused(words: tuple[str, ...], said: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(run(*CAPTION, *words))
    assert [*tmp_path.iterdir()] == []


def test_addresses_stay_as_they_are(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of two slashes would have one."""
    seen: list[tuple[str, str]] = []

    def noted(self: run_module.ClusterRun, on_begin: object) -> Iterator[run_module.Written]:
        seen.append((self.source, self.output))
        return iter(())

    monkeypatch.setattr(run_module.ClusterRun, "run", noted)
    assert run("caption", "s3://bucket/in", "--model", "tiny", "--ray", "-o", "s3://bucket/out").code == 0
    assert seen == [("s3://bucket/in", "s3://bucket/out")]


def test_without_ray_it_says_what_to_install(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    assert "omnilmm-lite[ray]" in refused(run(*CAPTION, "--ray", "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
