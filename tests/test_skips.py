"""CI fails where a test is skipped that should have run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

EXPECTED = "no control group can be made and limited here: Read-only file system"
LOST = "there is no Chromium: install the system's package chromium"
TESTS = """
import pytest

def test_that_runs():
    pass

@pytest.mark.parametrize("reason", {reasons!r})
def test_that_is_skipped(reason):
    pytest.skip(reason)
"""


def run(folder: Path, *reasons: str, **environment: str) -> tuple[int, str]:
    """pytest's exit code and last line."""
    (folder / "test_some.py").write_text(TESTS.format(reasons=reasons), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", "-c", os.devnull]
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "OMNILMM_TEST_AS")}
    done = subprocess.run(
        [*command, "--rootdir", folder, folder], cwd=ROOT, env=inherited | environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("reasons", "code", "line"),
    [
        ([EXPECTED, EXPECTED], 0, f"skipped: 2 {EXPECTED}"),
        ([EXPECTED, EXPECTED, LOST], 1, f"skipped: 2 {EXPECTED}, 1 {LOST}"),
    ],
    ids=["expected", "not expected"],
)
def test_what_is_skipped_in_ci(reasons: list[str], code: int, line: str, tmp_path: Path) -> None:
    assert run(tmp_path, *reasons, CI="true") == (code, line)


def test_elsewhere_anything_may_be_skipped(tmp_path: Path) -> None:
    code, line = run(tmp_path, LOST)
    assert code == 0
    assert "1 passed, 1 skipped" in line
