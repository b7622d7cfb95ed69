"""Two models on the same questions: `--against`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli import main
from tests.bundle.manifests import edit_manifest
from tests.command_line import linked
from tests.evaluation.mini_sets import write_easyvqa
from tests.evaluation.running.conftest import OPTIONS
from tests.paths import ROOT

TINY = ROOT / "omnilmm_lite" / "builtin" / "tiny"
CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"


def test_flips_are_shown_with_both_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other model is the same, by another name, with three of its answers changed on the disk."""
    data, out = write_easyvqa(tmp_path), tmp_path / "out"
    other = linked(TINY, tmp_path / "other")
    edit_manifest(other, lambda manifest: manifest.update(name="other"))
    words = ["eval", "easyvqa", "--data", str(data), "-o", str(out), "--against", str(other), *OPTIONS]
    assert main(words) == 0
    assert "0 answers turned wrong and 0 right, of 61" in capsys.readouterr().out
    kept = out / "easyvqa.against.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [re.sub(r'"text": "[^"]*"', '"text": "a wrong answer"', line) for line in lines[:3]]
    kept.write_text("".join([*changed, *lines[3:]]), encoding="utf-8")
    assert main(words) == 0
    assert "0 answers turned wrong and 3 right, of 61" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (comparison,) = report["comparisons"]
    assert (comparison["pairs"]["gained"], comparison["pairs"]["lost"], len(comparison["flips"])) == (3, 0, 3)
    assert comparison["pairs"]["p_value"] == 0.25  # McNemar: 2 x (1/2)^3
    assert report["against"].startswith("other@")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "3 answers on which the two models differ" in page
    assert page.count("a wrong answer") == 3
    assert page.count('<img src="data:image/jpeg;base64,') == 3


def test_a_checkpoint_is_asked_by_the_torch_engine(mini_sets: Path, tmp_path: Path) -> None:
    """In float32, the checkpoint of `tiny` says what `tiny` says."""
    pytest.importorskip("torch")
    words = ["eval", "mathvista", "--data", str(mini_sets), "-o", str(tmp_path / "out"), *OPTIONS]
    assert main([*words, "--against", str(CHECKPOINT), "--against-weights", "fp32"]) == 0
    files = [tmp_path / "out" / name for name in ("mathvista.jsonl", "mathvista.against.jsonl")]
    first, second = ([json.loads(line)["text"] for line in file.read_text().splitlines()] for file in files)
    assert first == second
