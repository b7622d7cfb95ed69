"""`omnilmm-lite quality`: what goes where, and one line for everything that can't be."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import cli
from omnilmm_lite import model as model_module
from omnilmm_lite.machine.extras import Extra, install_command
from omnilmm_lite.model import Model
from omnilmm_lite.quality.page_file import check_page, write_page
from tests.bundle.manifests import edit_manifest
from tests.paths import ROOT
from tests.quality.test_quality import PICTURES
from tests.systems import not_on_windows

CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    shutil.copyfile(PICTURES / "cat.png", tmp_path / "cat.png")
    lines = [
        {"image": "cat.png", "question": "What is this?", "answer": "This is a cat."},
        {"question": "What can you do?", "answer": "I can name things."},
        {"image": "cat.png", "question": "Is there a dog?"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(*words: object) -> int:
    return cli.main(["quality", *map(str, words), "--threads", "1"])


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on stderr; nothing is on stdout."""
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("omnilmm-lite: ")
    assert err.count("\n") == 1
    return err


def test_one_object_and_a_page(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("tiny", "--against", CHECKPOINT, "--data", data, "--json", "--html", page) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    found = json.loads(out)
    assert (found["model"], found["base"], found["device"]) == ("tiny", "checkpoint", "cpu")
    assert found["data"] == {
        "source": "data.jsonl", "sequences": 3, "with_picture": 2, "with_answer": 2, "answers_written_by": None
    }  # fmt: skip
    assert list(found["summaries"]) == ["answer", "after picture", "text", "all"]
    answer = found["summaries"]["answer"]
    assert 0 < answer["kld_mean"]["value"] < 0.1
    assert answer["kld_mean"]["error"] > 0
    assert set(answer["kld_percentiles"]) == {"50", "90", "99", "99.9"}
    assert "standard error over sequences" in found["errors"]
    assert "decoder layers, checkpoint (4 steps)" in err  # progress
    assert page.read_text(encoding="utf-8").count("<svg") == 1 + 2 * 4


def test_a_bundle_against_itself_prints_a_table(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    assert run("tiny", "--against", "tiny", "--data", data, "--samples", 3) == 0
    out, err = capsys.readouterr()
    assert "tiny (cpu) against tiny (original), on data.jsonl" in out
    assert "3 sequences, 2 with a picture, 3 answered (open questions by tiny)" in out
    (row,) = (line for line in out.splitlines() if line.startswith(" largest KLD"))
    assert row.split("│")[1:] and {cell.strip() for cell in row.split("│")[1:]} == {"0"}
    assert "answers by tiny (1 step)" in err


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    against = ("tiny", "--against", "tiny", "--data", data)
    assert "--samples: 0 is out of range" in refusal(capsys, *against, "--samples", 0)
    assert "--html" in refusal(capsys, *against, "--html", tmp_path / "none" / "page.html")
    assert "--html" in refusal(capsys, *against, "--html", tmp_path)
    assert "device 'tpu' is unknown" in refusal(capsys, *against, "--device", "tpu")
    assert "there is no such bundle" in refusal(capsys, tmp_path / "none", "--against", "tiny")
    assert "neither a bundle" in refusal(capsys, "tiny", "--against", tmp_path)
    assert "neither a bundle" in refusal(capsys, "tiny", "--against", tmp_path / "none")
    assert "can't be used (No such file" in refusal(capsys, "tiny", "--against", "tiny", "--data", tmp_path / "none")
    data.write_text('{"question": "What?", "image": "dog.png"}', encoding="utf-8")
    assert "line 1: there is no picture 'dog.png'" in refusal(capsys, *against)


def no_load(*arguments: object, **options: object) -> Model:
    raise AssertionError("a model was loaded")


def test_what_can_be_known_beforehand_is_said_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "load", no_load)
    against = ("tiny", "--against", "tiny", "--data", data)
    assert "neither a bundle" in refusal(capsys, "tiny", "--against", tmp_path / "none", "--data", data)
    (tmp_path / "manifest.json").write_text("{")
    assert "this is not JSON" in refusal(capsys, "tiny", "--against", tmp_path, "--data", data)
    # where nobody may write, not even root
    assert "--html: /proc/page.html can't be written (" in refusal(capsys, *against, "--html", "/proc/page.html")
    assert "is no regular file" in refusal(capsys, *against, "--html", os.devnull)


def test_a_fallback_is_said(capsys: pytest.CaptureFixture[str], data: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cuda"
    shutil.copytree(tiny_bundle, folder)
    edit_manifest(folder, lambda data: data.update(target="cuda"))
    command = (folder, "--against", folder, "--data", data)
    assert run(*command) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (the bundle is built for CUDA, but ")[0] for line in lines[:2]] == [
        "device: cpu", "the original's device: cpu"
    ]  # fmt: skip
    assert run(*command, "--device", "cpu") == 0
    assert "device" not in capsys.readouterr().err


def test_the_report_comes_before_the_page_and_a_page_that_was_there_stays_whole(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "pages" / "page.html"
    page.parent.mkdir()
    page.write_text("the page before", encoding="utf-8")
    command = ("tiny", "--against", "tiny", "--data", data, "--json", "--html", page)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(*command) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["model"] == "tiny"
    assert err.endswith(f"omnilmm-lite: --html: {page} can't be written: No space left on device\n")
    assert page.read_text() == "the page before"
    assert list(page.parent.iterdir()) == [page]


@not_on_windows
def test_a_page_is_written_where_its_link_leads_and_for_others_to_read(tmp_path: Path) -> None:
    page, link = tmp_path / ("p" * 250 + ".html"), tmp_path / "link.html"
    link.symlink_to(page)
    check_page(link)
    assert not page.exists()
    write_page(link, "the page of \udcff")
    assert page.read_text() == "the page of ?"
    assert link.is_symlink()
    (tmp_path / "usual").touch()
    assert page.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_other_models_are_refused(capsys: pytest.CaptureFixture[str], data: Path, tiny_bundle: Path) -> None:
    assert "can't be compared: vocab_size" in refusal(capsys, "tiny", "--against", tiny_bundle, "--data", data)


def test_a_checkpoint_needs_torch(
    capsys: pytest.CaptureFixture[str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    line = refusal(capsys, "tiny", "--against", CHECKPOINT, "--data", data)
    assert f"a checkpoint needs the package torch: run {install_command(Extra.CONVERT)}" in line
