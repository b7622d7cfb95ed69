"""What `omnilmm-lite caption` writes where, with the built-in model."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from cli import main
from omnilmm_lite.caption import progress
from omnilmm_lite.caption.metadata.containers import packet_of
from omnilmm_lite.caption.metadata.xmp import read_xmp
from omnilmm_lite.caption.tags import clean_tags
from omnilmm_lite.caption.tally import Tally
from tests.commands.test_cli_process import process
from tests.files.another_run import another_run
from tests.paths import ROOT
from tests.picture import icc
from tests.systems import not_on_windows

QUICKER = """
import sys
import cli
from omnilmm_lite.caption import watching
watching.INTERVAL_S = 0.3
sys.exit(cli.main({words!r}))
"""
PICTURES = sorted((ROOT / "examples" / "pictures").glob("*.png"))
GREEDY = ["--greedy", "--threads", "1", "--model", "tiny"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of which says who took it, and what can't be read."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    exif = Image.Exif()
    exif[272] = "X100V"
    Image.new("RGB", (8, 8), "red").save(folder / "a.jpg", exif=exif)
    Image.new("RGB", (8, 8), "blue").save(folder / "b.png")
    for name in ("1.jxl", "2.jxl", "3.svg"):
        (folder / name).touch()
    return folder


def caption(folder: Path, *options: str) -> int:
    return main(["caption", str(folder), *GREEDY, *options])


def test_standard_output_gets_lines_and_nothing_else(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert caption(folder, "-o", "-") == 0
    told = capfdbinary.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert [line["path"] for line in lines] == ["a.jpg", "b.png"] and all(line["text"] for line in lines)
    err = told.err.decode()
    assert "standard output can't be gone on in: every picture is described" in err
    assert "passing over 3 files of kinds that can't be read: 2 JPEG XL, 1 SVG" in err
    assert "2 described, 0 could not be read, 0 had a line already, 3 passed over" in err
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", err)  # a log has no control characters
    assert not list(folder.glob(".*")) and not list(folder.parent.glob("*.json*"))


def test_templates_take_what_each_picture_has(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options = ["-p", "Name {name} of {folder}, by {exif.Model|somebody}.", "--prefix", "{name}: ", "--suffix", " {{x}}"]
    assert caption(folder, "-o", str(out), *options) == 0
    first, second = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert first["prompt"] == "Name a of pictures, by X100V."
    assert second["prompt"] == "Name b of pictures, by somebody."
    assert first["text"].startswith("a: ") and first["text"].endswith(" {x}")
    assert caption(folder, "-o", str(out), *options[:4]) == 2  # another suffix


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nowhere to write: name a file after -o"),
        (["--txt", "-p", "{exif.Modle}"], "did you mean {exif.Model}?"),
        (["--txt", "--suffix", "{"], "--suffix: a single {"),
        (["--txt", "--overwrite", "-p", "{tags}"], "may come from the texts that"),
        (["-o", "-", "--format", "csv"], "it needs a file"),
        (["--txt", "--format", "parquet"], "it needs a file"),
    ],
)
def test_wrong_usage_is_said_before_the_model_is_loaded(
    folder: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnilmm_lite.model.load", lambda *_, **__: pytest.fail("loaded"))
    assert caption(folder, *options) == 2
    assert said in capsys.readouterr().err


def test_a_table_is_gone_on_with_and_is_no_strangers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert caption(folder, "-o", str(out)) == 0
    once = out.read_bytes()
    capsys.readouterr()
    Image.new("RGB", (8, 8), "green").save(folder / "c.png")
    assert caption(folder, "-o", str(out)) == 0
    assert "1 described, 0 could not be read, 2 had a line already" in capsys.readouterr().err
    assert out.read_bytes().startswith(once)
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["a.jpg", "b.png", "c.png"]
    mine = tmp_path / "mine.csv"
    mine.write_text("my table", encoding="utf-8")
    assert caption(folder, "-o", str(mine)) == 2
    assert "not of this command" in capsys.readouterr().err and mine.read_text(encoding="utf-8") == "my table"


def test_all_places_at_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    options = ["-o", str(out), "--txt", "--xmp", "--embed"]
    assert caption(folder, *options) == 0
    for row, name in zip(parquet.read_table(out).to_pylist(), ("a.jpg", "b.png"), strict=True):
        text = row["text"]
        assert row["path"] == name
        assert (folder / name).with_suffix(".txt").read_text(encoding="utf-8") == text + "\n"
        assert read_xmp((folder / name).with_suffix(".xmp").read_bytes()).description == text
        assert read_xmp(packet_of((folder / name).read_bytes()) or b"").description == text
    capsys.readouterr()
    assert caption(folder, *options) == 0  # the pictures have other bytes now
    assert "0 described, 0 could not be read, 2 had a line already" in capsys.readouterr().err


def test_tags_are_a_clean_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "Here: Cat, red Sofa, cat. This is all of it"  # in the place of what tiny, which knows no lists, says
    monkeypatch.setattr("omnilmm_lite.caption.wording.clean_tags", lambda answer: clean_tags(said))
    assert caption(folder, "--tags", "--txt", "--xmp", "--prefix", "photo, ") == 0
    assert (folder / "a.txt").read_text(encoding="utf-8") == "photo, cat, red sofa\n"
    found = read_xmp((folder / "a.xmp").read_bytes())
    assert (found.description, found.keywords) == ("", ("cat", "red sofa"))
    said = "This is a cat."
    capsys.readouterr()
    assert caption(folder, "--tags", "--txt", "--overwrite") == 0
    assert (folder / "a.txt").read_text(encoding="utf-8") == "photo, cat, red sofa\n"
    told = capsys.readouterr().err
    assert "'a.jpg': the answer holds no tags" in told and "2 could not be written" in told


def test_a_damaged_profile_is_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(folder / "b.png", icc_profile=icc.grey_profile(icc.gamma(2.2)))
    assert caption(folder, "-o", str(tmp_path / "out.jsonl")) == 0
    assert "'b.png': its colour profile is damaged" in capsys.readouterr().err
    assert caption(folder, "-o", str(tmp_path / "other.jsonl"), "--ignore-colour-profile") == 0
    assert "colour profile" not in capsys.readouterr().err
    assert caption(folder, "-o", str(tmp_path / "out.jsonl"), "--ignore-colour-profile") == 2


def test_out_is_no_file_that_a_caption_may_go_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be written over by one: `a.txt` is what goes beside `a.jpg`."""
    for option, name in (("--txt", "a.txt"), ("--xmp", "a.XMP")):
        assert caption(folder, option, "--overwrite", "-o", str(folder / name)) == 2
        assert "files of this ending are written beside the pictures" in capsys.readouterr().err
    assert caption(folder, "--txt", "-o", str(folder.parent / "a.txt")) == 0
    capsys.readouterr()
    for name in ("", ".", ".."):
        assert caption(folder, "-o", name) == 2
        assert "is no file's name" in capsys.readouterr().err
    assert caption(folder, "-o", str(folder / "none" / "out.csv")) == 2
    assert "its folder doesn't exist" in capsys.readouterr().err and not (folder / "none").exists()


def test_two_at_once_beside_the_same_pictures_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with another_run(folder / "captions") as other:
        assert caption(folder, "--txt") == 2
    assert f"process {other.pid} on" in capsys.readouterr().err
    assert not list(folder.glob("*.txt"))


@not_on_windows
def test_a_folder_is_watched_until_ctrl_c(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ["caption", str(folder), "-o", str(out), "--watch", *GREEDY]
    program = process(["-c", QUICKER.format(words=words)])
    try:
        for count in (2, 3):
            while program.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < count):
                time.sleep(0.01)
            Image.new("RGB", (8, 8), "green").save(folder / "c.png")
    finally:
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=60)
    assert program.returncode == 130, err
    assert f"watching {folder}; Ctrl-C ends it" in err and "stopped: " in err and "Traceback" not in err
    assert [json.loads(line)["path"] for line in out.read_bytes().splitlines()] == ["a.jpg", "b.png", "c.png"]


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr("omnilmm_lite.caption.progress.time.monotonic", lambda: next(clock))

    class Counted(Tally):
        done = 2

        def time_left(self) -> str:
            return "0:00:30 left"

    with progress.CaptionProgress(Counted(7)) as shown:
        for _ in range(6):
            shown.step("two\nlines.png")
    err = capsys.readouterr().err
    assert err == "2 of 7 pictures, 0:00:30 left, 'two\\\\nlines.png'\n" * 2  # each is 4 s, a line comes every 10


def test_as_many_at_once_as_pay_and_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Left to itself it tries what memory has room for, says what it has found, and writes what one by one gives."""
    found: list[list[tuple[str, str, int]]] = []
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        shutil.copy(PICTURES[number % len(PICTURES)], folder / f"{number:02}.png")
    for parallel in ("1", "auto", "5"):
        out = tmp_path / f"{parallel}.jsonl"
        assert caption(folder, "-o", str(out), "--parallel", parallel) == 0
        lines = map(json.loads, out.read_bytes().splitlines())
        found.append([(line["path"], line["text"], line["timings"]["new_tokens"]) for line in lines])
        told = capsys.readouterr().err
        assert ("answers at once: " in told) == (parallel == "auto"), told
    assert len(found[0]) == 60 and found[0] == found[1] == found[2]
    assert [path for path, *_ in found[0]] == sorted(path for path, *_ in found[0])


@pytest.mark.parametrize("number", ["0", "65", "many", "-1", "1.5", "٣", ""])
def test_how_many_at_once_is_checked_first(
    number: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caption(folder, "-o", str(tmp_path / "out.jsonl"), f"--parallel={number}") == 2
    assert f"--parallel: {number!r} is out of range; give 1 to 64, or auto" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
