"""Captions in every place at once, killed at random moments: what comes out in the end is what one run makes."""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.commands.test_cli_process import process

KILLS = 3  # of each run, before one that may end
RUNS = 3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        noise = Image.frombytes("RGB", (16, 16), random.Random(number).randbytes(768))
        noise.save(folder / f"{number:02}.{('png', 'jpg', 'webp')[number % 3]}")
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    places = ["-o", str(folder / "out.csv"), "--txt", "--xmp", "--embed"]
    return process(["cli.py", "caption", str(folder / "in"), *places, "--greedy", "--threads", "1", "--model", "tiny"])


def result(folder: Path) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
    """Every file of the folder, hidden ones too, and what the table says."""
    files = {path.name: path.read_bytes() for path in (folder / "in").iterdir()}
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        return files, [(row["path"], row["text"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_however_often_it_is_killed(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "whole" / "in")
    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - began
    expected = result(tmp_path / "whole")
    assert len(expected[0]) == 4 * 30  # a picture, what it was, its text and its XMP
    moments = random.Random(5)
    for number in range(RUNS):
        folder = tmp_path / str(number)
        shutil.copytree(pictures, folder / "in")
        for _ in range(KILLS):
            program = start(folder)
            try:
                program.wait(moments.uniform(seconds / 8, seconds))
            except subprocess.TimeoutExpired:
                program.kill()
            program.communicate()
        assert start(folder).wait() == 0
        assert result(folder) == expected
