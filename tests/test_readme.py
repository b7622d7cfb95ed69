"""The README's commands, pasted as they stand, in the order they stand in."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.mini_sets import write_all
from tests.hub.local_hub import LocalHub
from tests.paths import ROOT
from tests.systems import not_on_windows

pytestmark = not_on_windows  # whose shells take other words

WAIT_S = 300  # for what hangs
COMMAND = re.compile(r"(omnilmm-lite|echo|curl) ")


def guide(language: str) -> list[str]:
    """The README's blocks of that language; those without one hold commands."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in blocks if name == language]


COMMANDS = [line for block in guide("") for line in block.splitlines() if COMMAND.match(line)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read, in a folder where they may write."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "my-data").mkdir()
    write_all(folder / "my-data")
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    """A hub on this machine, which has the built-in model's checkpoint under the name that the guide fetches."""
    files = {path.name: path.read_bytes() for path in (ROOT / "examples" / "tiny" / "checkpoint").iterdir()}
    with LocalHub().running() as running:
        running.add("openbmb/OmniLMM-12B", files)
        yield running


@pytest.fixture(scope="module")
def environment(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The activated environment of a user who has nothing yet; no browser is opened."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    user = tmp_path_factory.mktemp("user")
    places = {"OMNILMM_HOME": str(user / "models"), "HF_HOME": str(user / "hub"), "HF_ENDPOINT": hub.address}
    return os.environ | {"PATH": path, "BROWSER": "true", "PYTHONUNBUFFERED": "1", **places}


def test_every_command_works(clone: Path, environment: dict[str, str]) -> None:
    if shutil.which("omnilmm-lite", path=environment["PATH"]) is None:
        pytest.skip("the package is not installed")
    asked = [line for line in COMMANDS if not line.startswith(("omnilmm-lite serve", "curl"))]
    assert len(asked) > 12
    for line in asked:
        line = line.replace("omnilmm-lite setup", "omnilmm-lite setup --yes")  # it asks, and nobody sits here
        done = subprocess.run(
            ["bash", "-c", line], cwd=clone, env=environment, input="What is this?\n", text=True, capture_output=True,
            timeout=WAIT_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    for block in guide("python"):
        (clone / "guide.py").open("a", encoding="utf-8").write(block)
    done = subprocess.run([sys.executable, "guide.py"], cwd=clone, env=environment, capture_output=True, text=True,
                          timeout=WAIT_S)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cat" in done.stdout


@pytest.fixture
def server(clone: Path, environment: dict[str, str]) -> Iterator[None]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("something else listens on port 8000")
    with subprocess.Popen(
        ["omnilmm-lite", "serve", "--model", "tiny", "--open"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"http://127.0.0.1:8000\n"
        yield
        process.terminate()


@pytest.mark.usefixtures("server")
def test_what_is_asked_of_the_server(environment: dict[str, str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    asked = [line for line in COMMANDS if line.startswith("curl")]
    assert len(asked) == 2
    for line in asked:
        answer = subprocess.run(
            ["bash", "-c", f"{line} --fail --silent"], env=environment, capture_output=True, timeout=WAIT_S
        )
        assert answer.returncode == 0, line
        assert b'"model":"tiny"' in answer.stdout


def test_the_chinese_guide_keeps_step() -> None:
    """The same headings in order, the same commands, the same links; the words between them nobody can compare."""
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_zh.md"))
    for what in (r"^```.*?^```$", r"^#+(?= )", r"^\* ", r"^\|", r"--[a-z][a-z-]+", r"docs/[\w./-]+(?=\))"):
        there, here = (re.findall(what, text, re.MULTILINE | re.DOTALL) for text in (english, chinese))
        if not what.startswith("^"):  # within sentences, whose order is another language's
            there, here = sorted(set(there)), sorted(set(here))
        assert here == there, what
