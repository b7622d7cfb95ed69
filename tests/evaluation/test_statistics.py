"""Errors, intervals and tests against scipy's and against values worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from omnilmm_lite.evaluation.statistics import (
    compare_pairs,
    interval_of_mean,
    interval_of_ratio,
    interval_of_share,
    interval_of_sum_of_means,
    mcnemar,
)

BOUNDS = (0.0, 200.0)
RANDOM = np.random.default_rng(3)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_scipys_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected)


def test_mcnemar_on_paper() -> None:
    """Five changes in one direction: 2 / 2^5. No change at all: nothing to see."""
    assert mcnemar(5, 0) == mcnemar(0, 5) == 0.0625
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0
    assert 0 < mcnemar(3000, 2000) < 1e-40  # far beyond what a float's binomials hold


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.choice([0.0, 50.0, 200.0], 60),  # MME's points of a picture
        RANDOM.integers(0, 7, 96).astype(float),  # ratings
        RANDOM.normal(5, 2, 200),  # all different
    ],
    ids=["points", "ratings", "real numbers"],
)
def test_a_means_error_and_interval_are_scipys(values: np.ndarray) -> None:
    found = interval_of_mean(list(values), BOUNDS)
    assert found is not None and found.error is not None
    assert found.error == pytest.approx(stats.sem(values))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=1).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.15 * found.error)
    assert found.high == pytest.approx(theirs.high, abs=0.15 * found.error)


def test_a_ratios_interval_is_scipys() -> None:
    below = RANDOM.integers(0, 8, 250).astype(float)
    above = RANDOM.binomial(below.astype(int), 0.3).astype(float)
    found = interval_of_ratio(list(above), list(below), (0, 1))
    assert found is not None and found.error is not None

    def ratio(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(a.sum(axis=axis) / b.sum(axis=axis))

    theirs = stats.bootstrap(
        (above, below), ratio, paired=True, vectorized=True, n_resamples=9999, method="percentile", rng=1
    )
    assert found.error == pytest.approx(theirs.standard_error, rel=0.05)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.15 * found.error)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.15 * found.error)


@given(st.integers(0, 300), st.integers(2, 300))
def test_a_shares_interval_is_scipys_score_interval(hits: int, count: int) -> None:
    hits = min(hits, count)
    found = interval_of_share([True] * hits + [False] * (count - hits))
    theirs = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert found.low <= hits / count <= found.high and found.low < found.high
    assert (found.error is None) == (hits in (0, count))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_shares_interval_as_published(hits: int, count: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    found = interval_of_share([True] * hits + [False] * (count - hits))
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_values_that_all_agree_leave_as_much_open_as_jeffreys_posterior_says() -> None:
    """20 pictures with all of 200 points: the share with none is below the 97.5th percentile of Beta(0.5, 20.5)."""
    open_share = stats.beta.ppf(0.975, 0.5, 20.5)
    found = interval_of_mean([200.0] * 20, BOUNDS)
    assert found is not None and found.error is None
    assert found.high == 200.0
    assert found.low == pytest.approx(200 * (1 - open_share), abs=1.0)
    between = interval_of_mean([50.0] * 20, BOUNDS)
    assert between is not None and between.low < 50 < between.high
    none = interval_of_ratio([0.0] * 22, [3.0] * 20 + [0.0] * 2, (0, 1))
    assert none is not None and none.error is None
    assert (none.low, none.high) == pytest.approx((0.0, open_share), abs=0.005)
    assert interval_of_ratio([4.0] * 5, [8.0] * 5, None) is None


def test_a_task_of_equals_widens_the_sum_of_tasks() -> None:
    varied = list(RANDOM.choice([0.0, 50.0, 200.0], 40))
    alone = interval_of_sum_of_means([varied], BOUNDS)
    both = interval_of_sum_of_means([varied, [200.0] * 10, [0.0] * 5], BOUNDS)
    assert alone is not None and both is not None
    assert both.low < 200 + alone.low
    assert both.high > 200 + alone.high
    downwards = interval_of_sum_of_means([varied, [200.0] * 10], BOUNDS)
    assert downwards is not None
    assert downwards.low < 200 + alone.low
    assert downwards.high == pytest.approx(200 + alone.high)


def test_strata_add_up() -> None:
    """Variances of the means 0.5 and 1: 0.25 / 2 and 1 / 2, by hand."""
    found = interval_of_sum_of_means([[0.0, 1.0], [0.0, 2.0]], BOUNDS)
    assert found is not None and found.error is not None
    assert found.error == pytest.approx((0.5 / 2 + 2 / 2) ** 0.5)
    assert (found.low, found.high) == (0.0, 3.0)


def test_too_little_tells_nothing() -> None:
    assert interval_of_mean([1.0], BOUNDS) is None
    assert interval_of_mean([], BOUNDS) is None
    assert interval_of_sum_of_means([[1.0, 2.0], [3.0]], BOUNDS) is None
    assert interval_of_ratio([1.0], [1.0], (0, 1)) is None
    assert interval_of_ratio([1.0, 1.0], [0.0, 0.0], (0, 1)) is None
    assert interval_of_ratio([1.0, 0.0], [1.0, 0.0], (0, 1)) is None
    assert interval_of_share([True]) is None


def test_the_same_answers_give_the_same_digits() -> None:
    values = list(RANDOM.normal(size=500))
    assert interval_of_mean(values, BOUNDS) == interval_of_mean(values, BOUNDS)


def test_pairs_by_hand() -> None:
    """Ten questions, four lost and one gained: 30 points less; p = 2 (1 + 5) / 2^5."""
    first = [True] * 8 + [False] * 2
    second = [False] * 4 + [True] * 4 + [True, False]
    found = compare_pairs(first, second)
    assert (found.questions, found.gained, found.lost) == (10, 1, 4)
    assert found.difference == pytest.approx(-0.3)
    assert found.p_value == pytest.approx(0.375)
    differences = np.asarray(second, float) - np.asarray(first, float)
    assert found.interval is not None and found.interval.error == pytest.approx(stats.sem(differences))
    assert found.interval.low <= -0.3 <= found.interval.high
