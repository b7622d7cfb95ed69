"""A second conversion with the first one's folders: while that runs, behind its end, and after files were damaged."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

import cli
from omnilmm_lite import __version__
from omnilmm_lite.bundle.manifest import MANIFEST
from quantize.folder.write import REPORT_FILE
from tests.files.another_run import another_run
from tests.files.killed import NEVER, Killed, killed_after
from tests.small_checkpoint import TINY, write_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint, a bundle of it, and the work folder."""
    root = tmp_path_factory.mktemp("convert")
    (root / "checkpoint").mkdir()
    write_checkpoint(root / "checkpoint", size=TINY)
    assert convert(root) == 0
    return root


def convert(root: Path, out: str = "out", work: str = "work", *more: str) -> int:
    options = ["--preset", "cpu-small", "--group-size", "32", "--answer-tokens", "0", "--samples", "8", *more]
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


# ---- OUT is there ----


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def test_the_same_command_again_says_that_all_is_done(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    before = contents(root / "out")
    assert convert(root) == 0
    said = capsys.readouterr()
    assert f"{root / 'out'}: finished already, from this checkpoint with these options" in said.err
    assert "GPTQ" not in said.err
    assert f"try it: omnilmm-lite run PICTURE --model {root / 'out'}" in said.out
    assert contents(root / "out") == before
    assert not [path.name for path in root.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "more",
    [
        ("--preset", "cpu"),
        ("--samples", "4"),
        ("--damp", "0.02"),
        ("--lm-head-bits", "16"),
        ("--answer-tokens", "1"),
        ("--target-size", "1GB"),
        ("--calibration", "{pictures}"),
        ("--work-dir", "{root}/no-work"),  # layers' bits may be others there
    ],
    ids=lambda more: more[0],
)
def test_other_options_are_other_work(
    more: tuple[str, ...], root: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(root=root, pictures=pictures[0].parent) for word in more]
    refused(root, capsys, *words)


@pytest.mark.parametrize("damaged", ["bundle", "manifest", "name", "report", "checkpoint"])
def test_what_differs_anywhere_is_not_the_same_work(
    damaged: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoint", "out", "work"):
        shutil.copytree(root / name, tmp_path / name)
    if damaged == "name":
        (tmp_path / "out").rename(tmp_path / "another")
        refused(tmp_path, capsys, out="another")
        return
    file = {
        "bundle": tmp_path / "out" / "decoder.onnx.data",
        "manifest": tmp_path / "out" / MANIFEST,
        "report": tmp_path / "work" / "gptq" / REPORT_FILE,
        "checkpoint": tmp_path / "checkpoint" / "added_tokens.json",
    }[damaged]
    data = file.read_bytes()
    if damaged == "bundle":
        data = data[:-1] + bytes([data[-1] ^ 1])
    elif damaged == "manifest":
        data = data.replace(f'"tool_version": "{__version__}"'.encode(), b'"tool_version": "0.0.1"')
    elif damaged == "report":
        data = data.replace(b'"bits": 4', b'"bits": 5')
    else:
        data += b"\n"
    assert data != file.read_bytes()
    file.write_bytes(data)
    refused(tmp_path, capsys)


def refused(root: Path, capsys: pytest.CaptureFixture[str], *more: str, out: str = "out") -> None:
    before = contents(root / out)
    capsys.readouterr()
    assert convert(root, out, "work", *more) == 2
    error = capsys.readouterr().err
    assert f"omnilmm-lite: {root / out}: this already exists; name another folder or remove it first\n" in error
    assert "finished already" not in error
    assert contents(root / out) == before


@pytest.mark.usefixtures("one_thread")
def test_a_kill_between_the_name_and_the_end_is_no_failure(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last step on the disk is behind the one that gives the bundle its name."""

    def reference(folder: Path) -> int:
        return cli.main(["convert", str(root / "checkpoint"), str(folder / "out"), "--preset", "reference"])

    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    with killed_after(NEVER, tmp_path / "whole") as steps:
        assert reference(tmp_path / "whole") == 0
    with pytest.raises(Killed), killed_after(steps.done - 1, tmp_path / "killed"):
        reference(tmp_path / "killed")
    capsys.readouterr()
    assert reference(tmp_path / "killed") == 0
    assert "finished already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["out"]
    whole, killed = (
        {name: data for name, (data, _) in contents(tmp_path / folder / "out").items()}
        for folder in ("whole", "killed")
    )
    assert killed == whole
