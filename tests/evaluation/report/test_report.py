"""Reports and comparisons of results that were worked out by hand."""

from __future__ import annotations

import json

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark, Profile
from omnilmm_lite.evaluation.comparison import compare
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.report.json_report import as_json
from omnilmm_lite.evaluation.report.markdown import as_markdown
from omnilmm_lite.evaluation.report.published import PUBLISHED
from omnilmm_lite.evaluation.scoring import mmbench, seedbench
from omnilmm_lite.evaluation.scoring.result import Result

OPTIONS = {"A": "x", "B": "y"}


def _seed(texts: str) -> Result:
    """One answer a letter; A is right."""
    items = [Item(str(n), "?", answer="A", options=OPTIONS, category="a | b") for n in range(len(texts))]
    return seedbench.score([Prediction(*each) for each in zip(items, texts, strict=True)], Profile.VEK2402)


def test_the_cards_own_figures_are_the_requirements() -> None:
    (card,) = [each for each in PUBLISHED if each.name == "OmniLMM-12B"]
    for benchmark, figures in card.figures.items():
        assert " / ".join(map(str, figures)) == REQUIREMENTS[benchmark].card
    assert card.figures.keys() == set(Benchmark) - {Benchmark.EASYVQA}


def test_markdown_has_value_error_interval_and_unparsed() -> None:
    """Eight right of ten: 80, with an error of the square root of .8 x .2 / 9."""
    page = as_markdown("my_bundle@12|3", [_seed("AAAAAAAAB?")])
    assert "| SEED-Bench (images) | accuracy | 80.0 | 13.3 | " in page
    assert "| 10 | 1 of 10 |\n" in page
    assert "| GPT-4V | 1771.5 | 75.1 | 56.8 | 3.53 / 70.8 | 86.4 / 92.7 | 71.6 | 47.8 | 93.1 | card, GPT-4V† |" in page
    assert "| my\\_bundle@12\\|3 | - | - | - | - | - | 80.0 | - | - | this run |" in page
    assert "| a \\| b | 80.0 | 13.3 | " in page
    assert "* pictures are shown as stored" in page
    widths = {line.replace("\\|", "").count("|") for line in page.split("\n\n")[1].splitlines()}
    assert len(widths) == 1


def test_json_holds_every_verdict() -> None:
    first, second = _seed("AAB?"), _seed("ABBA")
    found = json.loads(json.dumps(as_json("m", [first], [compare(first, second)])))
    (result,) = found["results"]
    assert (result["benchmark"], result["profile"], result["unparsed"], result["answers"]) == (
        "seedbench",
        "vek2402",
        1,
        4,
    )
    assert [each["extracted"] for each in result["verdicts"]] == ["A", "A", "B", None]
    assert found["comparisons"][0]["pairs"]["lost"] == 1
    assert found["published"]["models"][-1]["figures"]["mmhal"] == [3.45, 68.8]
    sources = [each["source"] for each in found["published"]["models"]]
    assert sources[0].endswith("OpenBMB/MiniCPM-V at 61be816, row GPT-4V†")
    assert len(set(sources)) == len(PUBLISHED)


def test_flips_are_named() -> None:
    found = compare(_seed("AAB"), _seed("ABA"))
    assert [(each.index, each.first.correct, each.second.extracted) for each in found.flips] == [
        ("1", True, "B"), ("2", False, "A"),
    ]  # fmt: skip
    assert found.verdict.startswith("1 answer turned wrong and 1 right, of 3 (+0.0 points, ")
    assert found.verdict.endswith("p = 1): no difference shows beyond chance.")


def test_a_real_loss_is_said() -> None:
    """Eight lost and none gained: p = 2 / 2^8."""
    found = compare(_seed("A" * 20), _seed("B" * 8 + "A" * 12))
    assert "(-40.0 points, " in found.verdict
    assert found.verdict.endswith("p = 0.0078): the second model is worse, beyond chance.")


def test_without_a_change_the_number_of_questions_bounds_what_is_lost() -> None:
    """1 - 0.05^(1/20) = 0.139: resamples of no change would say that there is none."""
    assert compare(_seed("A" * 20), _seed("A" * 20)).verdict == (
        "0 answers turned wrong and 0 right, of 20: no difference shows; with 95 % confidence under 14 % would change."
    )


def test_rotations_are_one_question() -> None:
    rows = [Item("7", "?", answer="A", options=OPTIONS), Item("1000007", "?", answer="B", options=OPTIONS)]

    def scored(*texts: str) -> Result:
        return mmbench.score([Prediction(*each) for each in zip(rows, texts, strict=True)], Profile.VEK2402)

    found = compare(scored("A", "B"), scored("B", "A"))
    assert (found.pairs.questions, found.pairs.lost) == (1, 1)
    assert found.verdict == "1 answer turned wrong and 0 right, of 1: too few questions to tell."


def test_other_questions_are_refused() -> None:
    with pytest.raises(InputError, match="weren't asked the same questions"):
        compare(_seed("AA"), _seed("A"))
    item = Item("1", "?", answer="A", options=OPTIONS)
    other = mmbench.score([Prediction(item, "A")], Profile.VEK2402)
    with pytest.raises(InputError, match="seedbench by vek2402 and mmbench by vek2402 can't be compared"):
        compare(_seed("A"), other)
