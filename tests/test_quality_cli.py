"""`omnilmm-lite quality`: what goes where, and one line for everything that can't be."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import cli
from tests.test_quality import PICTURES

CHECKPOINT = Path(__file__).parent.parent / "examples" / "tiny" / "checkpoint"


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
    assert page.read_text(encoding="utf-8").count("<svg") == 4


def test_a_bundle_against_itself_prints_a_table(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    assert run("tiny", "--against", "tiny", "--data", data, "--samples", 3) == 0
    out, err = capsys.readouterr()
    assert "tiny (cpu) against tiny (original), on data.jsonl" in out
    assert "3 sequences, 2 with a picture, 3 answered (open questions by tiny)" in out
    (row,) = (line for line in out.splitlines() if line.startswith(" largest KLD"))
    assert row.split("│")[1:] and {cell.strip() for cell in row.split("│")[1:]} == {"0"}
    assert "answers by tiny (1 steps)" in err


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
    data.write_text('{"question": "What?", "image": "dog.png"}')
    assert "line 1: there is no picture 'dog.png'" in refusal(capsys, *against)


def test_other_models_are_refused(capsys: pytest.CaptureFixture[str], data: Path, tiny_bundle: Path) -> None:
    assert "can't be compared: vocab_size" in refusal(capsys, "tiny", "--against", tiny_bundle, "--data", data)


def test_a_checkpoint_needs_torch(
    capsys: pytest.CaptureFixture[str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    line = refusal(capsys, "tiny", "--against", CHECKPOINT, "--data", data)
    assert "a checkpoint needs the package torch: install omnilmm-lite[cpu,convert]" in line
