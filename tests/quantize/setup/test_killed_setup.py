"""Real processes of `setup`, killed and started again: each ends as one that nothing happened to."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub.local_hub import Fault, LocalHub
from tests.paths import ROOT
from tests.quantize.setup.conftest import NAME
from tests.systems import PYTHON

LONGEST_S = 900.0  # for what hangs
ENDINGS = (".partial", ".lock", ".tmp", ".incomplete", ".removed")
ASK = ("run", "examples/pictures/cat.png", "-p", "What is this?", "--greedy", "--max-new-tokens", "4")


@dataclass(frozen=True)
class Place:
    """Where a process has its home, its downloads and its hub."""

    folder: Path
    hub: LocalHub
    options: tuple[str, ...]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self, *words: str) -> subprocess.Popen[str]:
        proxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
        kept = {name: value for name, value in os.environ.items() if name.upper() not in proxies}
        own = {"OMNILMM_HOME": str(self.home), "HF_HOME": str(self.folder / "hf"), "HF_ENDPOINT": self.hub.address}
        return subprocess.Popen([*PYTHON, "-m", "cli", *words], cwd=ROOT, env=kept | own | {"HF_HUB_DISABLE_XET": "1"},
                                text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip

    def set_up(self) -> subprocess.Popen[str]:
        return self.start("setup", NAME, "--yes", *self.options)

    def end(self, process: subprocess.Popen[str]) -> str:
        out, err = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 0, err
        return out

    def result(self) -> dict[str, bytes]:
        """All of the home folder but the work folder, whose log has times in it, and what the model answers."""
        models = self.home / "models"
        found = {str(path.relative_to(models)): path.read_bytes() for path in models.rglob("*") if path.is_file()}
        default = json.loads((self.home / "default.json").read_text(encoding="utf-8"))["model"]
        return found | {"default": default.encode(), "answer": self.end(self.start(*ASK)).encode()}

    def leftovers(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.name.endswith(ENDINGS)]

    def clear(self) -> None:
        for folder in (self.home, self.folder / "hf"):
            shutil.rmtree(folder, ignore_errors=True)


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Kills it once that holds, and sees that it had not ended by itself."""
    until = time.monotonic() + LONGEST_S
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()


@pytest.fixture
def serving_alone(published: dict[str, bytes]) -> Iterator[LocalHub]:
    """For processes, which know it by their environment."""
    with LocalHub().running() as hub:
        hub.add(NAME, published)
        yield hub


def test_killed_while_it_downloads_and_while_it_converts(serving_alone: LocalHub, tmp_path: Path) -> None:
    place = Place(tmp_path, serving_alone, ("--preset", "reference"))
    serving_alone.fail("00002-of", Fault.STATUS, status=503, times=1, headers={"Retry-After": "600"})
    kill_when(place.set_up(), lambda: bool(serving_alone.asked("00002-of")))
    assert not (place.home / "models").exists()
    kill_when(place.set_up(), (place.home / "models" / ".OmniLMM-12B.partial").is_dir)
    assert not (place.home / "models" / "OmniLMM-12B").exists()
    place.end(place.set_up())
    result = place.result()
    assert (result["default"], place.leftovers()) == (b"OmniLMM-12B", [])
    assert result["answer"] not in (b"", b"This is a cat.\n")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["reference", "cpu"])
def test_killed_at_twenty_moments(serving_alone: LocalHub, tmp_path: Path, preset: str) -> None:
    """Each in a home of its own, and with its download to do again."""
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"question": "What is this?", "answer": "This is a cat."}) + "\n", encoding="utf-8")
    options = ("--preset", preset, *(() if preset == "reference" else ("--calibration", str(few))))
    place = Place(tmp_path / "place", serving_alone, options)
    started = time.monotonic()
    place.end(place.set_up())
    seconds = time.monotonic() - started
    clean, seed = place.result(), random.randrange(10**6)
    moments, killed = random.Random(seed), 0
    for number in range(20):
        place.clear()
        process = place.set_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds * (number + moments.random()) / 20)
        killed += process.poll() is None
        process.kill()
        process.communicate()
        place.end(place.set_up())
        found = place.result()
        differing = [name for name in clean.keys() | found.keys() if clean.get(name) != found.get(name)]
        assert (differing, place.leftovers()) == ([], []), (seed, number)
    assert killed > 10, seed  # of the last ones, some have ended
