"""A second conversion with the first one's folders: while that runs, and after files of it were damaged."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

import cli
from omnilmm_lite.bundle.manifest import MANIFEST
from quantize.folder.write import REPORT_FILE
from tests.files.another_run import another_run
from tests.small_checkpoint import TINY, write_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint, a bundle of it, and the work folder."""
    root = tmp_path_factory.mktemp("convert")
    (root / "checkpoint").mkdir()
    write_checkpoint(root / "checkpoint", size=TINY)
    assert convert(root) == 0
    return root


def convert(root: Path, out: str = "out", work: str = "work") -> int:
    options = ["--preset", "cpu-small", "--group-size", "32", "--answer-tokens", "0", "--samples", "8"]
    folders = [str(root / "checkpoint"), str(root / out), "--work-dir", str(root / work)]
    return cli.main(["convert", *folders, *options])


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.name not in (MANIFEST, REPORT_FILE))  # times
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_damaged_files_are_said_and_made_again_with_the_same_bytes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root / "work", root / "damaged")
    damaged = [root / "damaged" / "layer-001.safetensors", root / "damaged" / "tower" / "block-001.safetensors"]
    for file in damaged:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    assert convert(root, "again", "damaged") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " is damaged" in line]
    places = [root / "damaged" / "gptq", *damaged]  # the first is linked to the layers
    assert [line.partition(": ")[0] for line in lines] == [str(place) for place in places]
    assert digests(root / "damaged" / "gptq") == digests(root / "work" / "gptq")
    assert digests(root / "again") == digests(root / "out")


@pytest.mark.parametrize("place", ["new", "work"])
def test_a_place_that_another_run_writes_to_is_refused(
    place: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OUT or the work folder: before anything is read or made, with one line."""
    with another_run(root / place) as other:
        before = sorted(root.iterdir())
        assert convert(root, "new", "work") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{root / place}: another run is writing there (process {other.pid} on " in error
        assert sorted(root.iterdir()) == before
    assert not [path.name for path in root.iterdir() if path.name.endswith(".lock")]
