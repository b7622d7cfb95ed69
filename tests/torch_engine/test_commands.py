"""`--model CHECKPOINT` and `--weights`, by the commands themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli
from tests.paths import ROOT
from tests.torch_engine.loading import TRAINED, copied

PICTURES = ROOT / "examples" / "pictures"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(TRAINED, tmp_path)


def test_run_answers_from_a_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(PICTURES / "cat.png"), "-p", "What is this?", "--greedy", "--json", "--threads", "1"]
    assert cli.main([*words, "--model", str(folder)]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["text"] == "This is a cat."
    assert found.err == f"quantizing the decoder to nf4, once; kept in {folder}.nf4\n"  # nf4 where nothing is said
    assert cli.main([*words, "--model", str(folder), "--weights", "bf16"]) == 0
    found = capsys.readouterr()
    assert (json.loads(found.out)["text"], found.err) == ("This is a cat.", "")


def test_captions_say_what_they_were_made_by(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    words = ["caption", str(PICTURES), "--include", "cat.png", "-p", "What is this?", "--greedy", "--threads", "1"]
    words += ["-o", str(out), "--model", str(folder)]
    assert cli.main([*words, "--weights", "bf16"]) == 0
    line = json.loads(out.read_text(encoding="utf-8"))
    assert (line["text"], line["model"][:6], line["model"][-6:]) == ("This is a cat.", "model@", ", bf16")
    assert cli.main([*words, "--weights", "int8"]) == 2
    assert "model" in capsys.readouterr().err


def test_quality_holds_it_against_its_own_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quality", str(folder), "--weights", "fp32", "--against", str(TRAINED), "--samples", "2", "--json"]
    assert cli.main([*words, "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert json.dumps(report).count("NaN") == 0
    assert report["summaries"]["all"]["kld_mean"]["value"] < 1e-9


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("tiny", "--weights nf4: it is for a checkpoint, and tiny is a bundle"),
        ("no-such-folder", "there is no such"),
    ],
)
def test_weights_are_for_checkpoints(model: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "-p", "Hello", "--model", model, "--weights", "nf4"]) == 2
    assert complaint in capsys.readouterr().err
