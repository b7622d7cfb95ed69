"""The verdict: counted by hand, its interval held against published ones, its page on a phone."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from omnilmm_lite.quality.data import Kind
from omnilmm_lite.quality.statistics import wilson_interval
from omnilmm_lite.quality.verdict import Verdict, verdict_of
from tests.quality.test_page import PROJECTIONS, comparison_of, page_of, report_of
from tests.quality.test_page import tokenizer as tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from omnilmm_lite.quality.compare import Comparison
    from omnilmm_lite.text.tokenizer import Tokenizer


def answers(differing: list[list[bool]]) -> Comparison:
    """A comparison of sequences with two positions of text, where the two never agree, and then an answer; whether the
    two differ at each position of it."""
    agrees = np.concatenate([[False, False, *(not each for each in tokens)] for tokens in differing])
    lengths = [2 + len(tokens) for tokens in differing]
    kinds = np.concatenate([[Kind.TEXT] * 2 + [Kind.ANSWER] * len(tokens) for tokens in differing])
    comparison = comparison_of(len(agrees))
    scores = dataclasses.replace(comparison.scores, top=np.where(agrees, 5, 6))
    sequences = np.repeat(np.arange(len(differing)), lengths)
    samples = comparison.samples * len(differing)
    return dataclasses.replace(comparison, scores=scores, sequences=sequences, kinds=kinds, samples=samples)


def test_an_answer_differs_if_one_of_its_tokens_does() -> None:
    verdict = verdict_of(answers([[False, True, True], [False] * 4, [True], [False], []]))
    assert verdict is not None
    assert (verdict.answers, verdict.changed, verdict.of_100) == (4, 2, 50)
    assert verdict.headline == "You would notice a difference in 50 of 100 answers."
    assert verdict.explanation == (
        "2 of the 4 answers that were measured are worded differently somewhere. "
        "Of 100 others of this sort, 15 to 85 would differ (95 %; more data would narrow it down)."
    )


@pytest.mark.parametrize(
    ("changed", "count", "of_100", "headline"),
    [
        (0, 64, 0, "You would notice no difference in any answer."),
        (1, 900, 1, "You would notice a difference in 1 of 100 answers."),
        (899, 900, 99, "You would notice a difference in 99 of 100 answers."),
        (7, 7, 100, "You would notice a difference in every answer."),
    ],
)
def test_few_and_nearly_all_are_not_none_and_all(changed: int, count: int, of_100: int, headline: str) -> None:
    verdict = Verdict(count, changed, *wilson_interval(changed, count))
    assert (verdict.of_100, verdict.headline) == (of_100, headline)
    assert ("the same, word for word" in verdict.explanation) == (changed == 0)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_the_published_one(hits: int, count: int, low: float, high: float) -> None:
    """Source: Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3."""
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=5e-5)
    upside_down = wilson_interval(count - hits, count)
    assert upside_down == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_without_answers_there_is_none(tokenizer: Tokenizer) -> None:
    comparison = comparison_of(40, kinds=1)
    report = report_of(comparison, tokenizer)
    assert report.verdict is None
    assert json.loads(report.to_json())["verdict"] is None
    assert "can't be said: the data has no answers" in page_of(comparison, tokenizer)


def test_the_json_has_it_in_words(tokenizer: Tokenizer) -> None:
    found = json.loads(report_of(answers([[True], [False]]), tokenizer).to_json())["verdict"]
    assert (found["answers"], found["changed"]) == (2, 1)
    assert found["headline"].endswith("50 of 100 answers.")


@pytest.mark.parametrize("width", [320, 360])
def test_the_page_fits_a_phone(browser: Browser, tokenizer: Tokenizer, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 740})
    long = "openbmb--OmniLMM-12B-" + "x" * 60
    page.set_content(page_of(comparison_of(400), tokenizer, {"projections": PROJECTIONS}, model=long, base=long))
    for selector in ("html", "section", "figure", ".scroll"):
        beside = page.locator(selector).evaluate_all("all => all.map((each) => each.scrollWidth - each.clientWidth)")
        assert beside
        assert max(beside) <= 0, selector
    letters = page.locator("figure svg text:not(.power)").evaluate_all(
        "all => all.filter((each) => each.checkVisibility()).map((each) => each.getBoundingClientRect().height)"
    )
    assert len(letters) > 20
    assert min(letters) > 8  # can be read: a chart of the whole width would have letters of five pixels
    page.close()
