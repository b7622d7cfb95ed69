"""The tests once more, with what other systems lack hidden from this project's modules: see tests/other_systems."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

HIDDEN = "tests/other_systems/test_hidden.py"
# Every command of the runtime and the chat: what asks the system, and what writes files.
ASKING = (
    "commands/test_cli",
    "commands/test_doctor",
    "plan/test_plan",
    "bench/test_bench",
    "terminal/test_session",
    "terminal/test_paths",
    "terminal/test_typed_lines",
    "terminal/test_kept_chats",
)
WRITING = (
    "bundle/test_folder",
    "caption/test_caption",
    "picture/test_listing",
    "serve/test_serve",
    "quantize/decoder/test_spool",
    "terminal/test_line_reader",
)
CONVERTING = (
    "export/test_convert",
    "quantize/decoder/test_gptq_checkpoint",
    "quantize/folder/test_gptq_folder",
    "quantize/decoder/test_sensitivity",
    "quantize/tower/test_int8",
)

Run = subprocess.Popen[str]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what other systems lack is hidden on Linux alone")


def start(platform: str, *names: str) -> Run:
    files = [HIDDEN, *(f"tests/{name}.py" for name in names)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.other_systems.plugin"]
    return subprocess.Popen(
        [*command, "--hypothesis-profile=elsewhere", *files],
        cwd=ROOT,
        env=os.environ | {"OMNILMM_TEST_AS": platform},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def passed(run: Run) -> int:
    """How many tests; none failed."""
    out, _ = run.communicate()
    found = re.search(r"(\d+) passed", out)
    assert run.returncode == 0 and found is not None, out[-20_000:]
    return int(found[1])


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Run]]:
    """Side by side, as each waits for much."""
    started = {"win32": start("win32", *ASKING, *WRITING), "darwin": start("darwin", *ASKING)}
    yield started
    for run in started.values():
        run.kill()
        run.wait()


@pytest.mark.parametrize(("platform", "least"), [("win32", 300), ("darwin", 150)])
def test_the_runtime(runs: dict[str, Run], platform: str, least: int) -> None:
    assert passed(runs[platform]) > least


@pytest.mark.slow
def test_conversion_on_windows() -> None:
    assert passed(start("win32", *CONVERTING)) > 60
