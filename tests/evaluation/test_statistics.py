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
    interval_of_sum_of_means,
    mcnemar,
)

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
        RANDOM.integers(0, 2, 300).astype(float),  # right and wrong
        RANDOM.integers(0, 7, 96).astype(float),  # ratings
        RANDOM.normal(5, 2, 200),  # all different
    ],
    ids=["accuracy", "ratings", "real numbers"],
)
def test_a_means_error_and_interval_are_scipys(values: np.ndarray) -> None:
    found = interval_of_mean(list(values))
    assert found is not None
    assert found.error == pytest.approx(stats.sem(values))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=1).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.15 * found.error)
    assert found.high == pytest.approx(theirs.high, abs=0.15 * found.error)


def test_a_ratios_interval_is_scipys() -> None:
    below = RANDOM.integers(0, 8, 250).astype(float)
    above = RANDOM.binomial(below.astype(int), 0.3).astype(float)
    found = interval_of_ratio(list(above), list(below))
    assert found is not None

    def ratio(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(a.sum(axis=axis) / b.sum(axis=axis))

    theirs = stats.bootstrap(
        (above, below), ratio, paired=True, vectorized=True, n_resamples=9999, method="percentile", rng=1
    )
    assert found.error == pytest.approx(theirs.standard_error, rel=0.05)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.15 * found.error)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.15 * found.error)


def test_strata_add_up() -> None:
    """Variances of the means 0.5 and 1: 0.25 / 2 and 1 / 2, by hand."""
    found = interval_of_sum_of_means([[0.0, 1.0], [0.0, 2.0]])
    assert found is not None
    assert found.error == pytest.approx((0.5 / 2 + 2 / 2) ** 0.5)
    assert (found.low, found.high) == (0.0, 3.0)


def test_too_little_tells_nothing() -> None:
    assert interval_of_mean([1.0]) is None
    assert interval_of_mean([]) is None
    assert interval_of_sum_of_means([[1.0, 2.0], [3.0]]) is None
    assert interval_of_ratio([1.0], [1.0]) is None
    assert interval_of_ratio([1.0, 1.0], [0.0, 0.0]) is None


def test_the_same_answers_give_the_same_digits() -> None:
    values = list(RANDOM.normal(size=500))
    assert interval_of_mean(values) == interval_of_mean(values)


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
