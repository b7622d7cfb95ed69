"""What `python -m benchmarks.kills` does to commands, and a short form of it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kills.task import CHECKPOINT, PAIRS, ROOT, TASKS, Task, leftovers
from benchmarks.kills.trials import AT_ITS_NAME, Clean, Moment, kill_moments, killed
from omnilmm_lite.bundle.presets import PRESETS
from tests.systems import not_on_windows


def test_every_preset_is_killed() -> None:
    names = [task.name for task in TASKS]
    assert {f"convert {preset}" for preset in PRESETS} <= {*names}
    assert len({*names}) == len(names)
    assert {pair.share_out for pair in PAIRS} == {True, False}


@pytest.mark.parametrize("seed", range(3))
def test_moments_are_spread_over_the_whole_run(seed: int) -> None:
    moments = kill_moments(27, 10.0, random.Random(seed))
    assert moments == kill_moments(27, 10.0, random.Random(seed))
    assert moments.count(AT_ITS_NAME) == 2
    spread = sorted(moment for moment in moments if moment is not None)
    assert [int(moment / 0.4) for moment in spread] == list(range(25))


def test_what_is_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "out.work" / "tower").mkdir(parents=True)
    for name in (".out.lock", "out.work/tower/.1-2.partial", "out.work/arguments.json", ".out.jsonl"):
        (tmp_path / name).touch()
    assert leftovers(tmp_path) == [".out.lock", "out.work/tower/.1-2.partial"]


SAYS = "import sys; sys.stderr.write({says!r}); open({out!r}, 'w').write({text!r}); sys.exit({code})"


class Script(Task):
    """A command of a test's own."""

    def start(self, folder: Path, gptq: Path, file_bytes: int | None = None) -> subprocess.Popen[str]:
        says, text, code = self.words
        code_text = SAYS.format(says=says, out=str(folder / self.out), text=text, code=code)
        return subprocess.Popen([sys.executable, "-c", code_text], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("says", "text", "code", "said"),
    [
        ("", "right", "0", ""),
        ("", "wrong", "0", "out differs"),
        ("omnilmm-lite: no", "right", "2", "ended with 2: omnilmm-lite: no"),
        ("a file is damaged", "right", "0", "it calls something damaged: a file is damaged"),
    ],
)
def test_what_is_wrong_is_said(says: str, text: str, code: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("right")
    clean = Clean(Task("", (), "out").result(tmp_path), 1.0)
    moments: list[Moment] = [1000.0]
    trial = killed(Script("command", (says, text, code), "out"), clean, moments, tmp_path)
    assert trial.hits == 0
    assert [line.partition(" (killed")[0] for line in trial.faults] == ([said] if said else [])
    assert moments == [900.0]  # it is tried again, earlier


@pytest.mark.slow
@not_on_windows
def test_kills_leave_what_a_run_without_them_leaves() -> None:
    """Real processes: a preset with both of its quantizations, and a report."""
    assert CHECKPOINT.is_dir()
    words = ["convert cpu-small", "quality", "--kills", "6", "--pairs", "1", "--disks", "2", "--seed", "19"]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert [line.split("`")[1] for line in run.stdout.splitlines() if "`" in line] == ["convert cpu-small", "quality"]
