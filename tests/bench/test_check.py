"""`omnilmm-lite bench --check`: the same is said to be the same, and what differs to differ where it does."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import cli
from omnilmm_lite.bench.check import Exam, _cosines, _first_difference, answer_ids, step_logits
from omnilmm_lite.bench.check_report import CheckReport, Side
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.model import Model, load
from omnilmm_lite.quality.statistics import Estimate, Summary, score, summarize
from tests.bundle.manifests import rewrite


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load("tiny", threads=1)


def check(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert cli.main(["bench", "--threads", "1", *map(str, words)]) == code
    return capsys.readouterr().out


def altered(folder: Path, graph: str, tensor: str) -> Path:
    """A copy of tiny in which the first half of one tensor is zero."""
    shutil.copytree(Bundle.find("tiny").folder, folder)
    model = onnx.load(folder / graph, load_external_data=False)
    (found,) = (each for each in model.graph.initializer if each.name == tensor)
    place = {entry.key: entry.value for entry in found.external_data}
    content = bytearray((folder / place["location"]).read_bytes())
    start, count = int(place["offset"]), int(place["length"]) // 2
    content[start : start + count] = bytes(count)
    rewrite(folder, place["location"], bytes(content))
    return folder


def test_a_bundle_is_exactly_itself(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(check(capsys, "--check", "tiny", "--json"))
    assert found["is_exact"] is True
    assert (found["agrees"], found["misses"]) == (True, [])
    assert found["features_worst"] == pytest.approx(1.0)
    assert (found["answers"], found["answers_equal"]) == (6, 6)
    for name in ("prompts", "steps"):
        assert found[name]["kld_mean"]["value"] == 0
        assert found[name]["kld_max"] == 0
        assert found[name]["top1_agreement"]["value"] == 1
        assert found[name]["sequences"] == 6
    assert found["steps"]["positions"] == 6 * 24
    assert (found["subject"]["device"], found["base"]["device"]) == ("cpu", "cpu")


def test_the_table_says_exact(capsys: pytest.CaptureFixture[str]) -> None:
    out = check(capsys, "--check", "tiny")
    assert "tiny (preset cpu) on cpu (the bundle is built for the CPU), against tiny (preset cpu) on cpu" in out
    assert "6 of 6 equal" in out
    assert out.splitlines()[-1] == "exact: every feature and every logit is the same"


def test_a_changed_decoder_differs_in_its_logits_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = altered(tmp_path / "tiny", "decoder.onnx", "model.layers.1.mlp.down_proj.scales")
    found = json.loads(check(capsys, "--model", other, "--check", "tiny", "--json", code=1))
    assert found["features_worst"] == pytest.approx(1.0)
    assert not found["is_exact"]
    assert not found["agrees"]
    assert found["prompts"]["kld_mean"]["value"] > 0.01
    assert found["steps"]["kld_mean"]["value"] > 0.01
    assert any(miss.startswith("token by token: the mean KLD is") for miss in found["misses"])


def test_a_changed_resampler_differs_in_its_features(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = altered(tmp_path / "tiny", "resampler.onnx", "model.resampler.attn.out_proj.weight")
    out = check(capsys, "--model", other, "--check", "tiny", code=1)
    assert "THEY DIFFER" in out
    assert "pictures: the worst cosine is" in out


def test_another_model_is_refused_before_loading(capsys: pytest.CaptureFixture[str], tiny_bundle: Path) -> None:
    assert cli.main(["bench", "--check", str(tiny_bundle)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "can't be compared: vocab_size" in err
    assert err.count("\n") == 1


def test_steps_give_the_logits_of_the_whole(tiny: Model) -> None:
    """The decoder's own teacher-forced logits are the reference: they never go through a decode step."""
    exam = Exam.build(tiny.text.tokenizer, tiny.config)
    assert [each.image is not None for each in exam.conversations] == [True] * 3 + [False] * 3
    for number in (0, 3):
        sample, image = exam.samples[number], exam.conversations[number].image
        features = None if image is None else tiny.encode_image(image)
        start = sample.answer_start
        assert start is not None
        whole = tiny.logits(sample.ids, features)[start - 1 :][:24]
        steps = step_logits(tiny, sample, features)
        assert steps.shape == whole.shape
        scores = score(whole, steps, answer_ids(sample))
        assert scores.kld.max() < 1e-3
        np.testing.assert_array_equal(answer_ids(sample), sample.ids[start : start + 24])


def test_cosines_by_hand() -> None:
    a = np.asarray([[3, 4], [1, 0], [2, 2]], dtype=np.float32)
    b = np.asarray([[6, 8], [0, 5], [-1, -1]], dtype=np.float32)
    found = _cosines([a[:2], a[2:]], [b[:2], b[2:]])
    assert found is not None
    np.testing.assert_allclose(found, [1, 0, -1], atol=1e-7)
    assert _cosines([], []) is None


def test_where_answers_part() -> None:
    assert _first_difference((1, 2, 3), (1, 2, 3)) is None
    assert _first_difference((1, 2, 3), (1, 5, 3)) == 1
    assert _first_difference((1, 2), (1, 2, 3)) == 2


@dataclass(frozen=True)
class Limit:
    cosine: float = 0.9901
    kld: float = 0.0099
    top1: float = 0.951


LIMITS = [
    (Limit(), 0),
    (Limit(cosine=0.9899), 1),
    (Limit(kld=0.0101), 2),  # of both ways
    (Limit(top1=0.949), 2),
    (Limit(float("nan"), float("nan"), float("nan")), 5),  # what isn't a number agrees with nothing
]


@pytest.mark.parametrize(("limit", "misses"), LIMITS)
def test_where_the_line_is(limit: Limit, misses: int) -> None:
    logits = np.zeros((2, 3), dtype=np.float32)
    same: Summary = summarize(score(logits, logits, np.zeros(2, np.int64)), np.arange(2))
    summary = replace(same, kld_mean=Estimate(limit.kld, None), top1_agreement=Estimate(limit.top1, None))
    side = Side("a", "cpu", "cpu", "")
    report = CheckReport(side, side, 1.0, limit.cosine, summary, summary, (None, 3), is_exact=False)
    assert len(report.misses) == misses
    assert (report.answers_equal, report.to_dict()["agrees"]) == (1, misses == 0)
