"""How far a benchmark's figure can be trusted, and whether two models differ; numpy and float64.

Questions are taken for a sample of all such questions. Intervals are percentiles of bootstrap resamples with a fixed
seed, so the same answers give the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
FEW = 16  # right and wrong, or ratings
DRAWS_AT_ONCE = 1 << 20  # random numbers: 8 MB


@dataclass(frozen=True)
class Interval:
    """`error` is one standard error; `low` and `high` hold the true value with probability LEVEL."""

    error: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same questions. Shares are from 0 to 1, differences second minus first."""

    questions: int
    gained: int  # wrong at first, right with the second
    lost: int  # right at first, wrong with the second
    difference: float
    interval: Interval | None  # of the difference; None with less than two questions
    p_value: float  # McNemar's exact test, two-sided


def interval_of_mean(values: Sequence[float]) -> Interval | None:
    """Of a mean; None with less than two values."""
    return interval_of_sum_of_means([values])


def interval_of_sum_of_means(strata: Sequence[Sequence[float]]) -> Interval | None:
    """Of the sum of each stratum's mean, each resampled by itself; None where a stratum has less than two values."""
    if not strata or any(len(stratum) < 2 for stratum in strata):
        return None
    arrays = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    error = math.sqrt(sum(float(array.var(ddof=1)) / len(array) for array in arrays))
    generator = np.random.default_rng(SEED)
    means = [
        _resampled_means_of_few(array, generator)
        if len(np.unique(array)) <= FEW
        else _resampled_means(array, generator)
        for array in arrays
    ]
    resampled: Floats = np.sum(means, axis=0)
    return _interval(resampled, error)


def interval_of_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval | None:
    """Of sum(numerators) / sum(denominators), pairs resampled together; None where that can't be told.

    The error is the ratio estimator's (Cochran, Sampling Techniques, 6.4).
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    count, total = len(above), float(below.sum())
    if count < 2 or total == 0.0:
        return None
    residuals = above - float(above.sum()) / total * below
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / abs(total)
    sums = _resampled_means(np.stack([above, below], axis=1), np.random.default_rng(SEED))
    usable = sums[sums[:, 1] != 0.0]
    return _interval(usable[:, 0] / usable[:, 1], error) if len(usable) else None


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value that as many answers turned right as turned wrong, by chance alone.

    Twice the binomial tail of the smaller count among the changed answers, 1 at most (McNemar 1947).
    """
    changed = gained + lost
    tail = sum(math.comb(changed, count) for count in range(min(gained, lost) + 1))
    return min(1.0, float(2 * tail / 2**changed))


def compare_pairs(first: Sequence[bool], second: Sequence[bool]) -> PairedComparison:
    """`first` and `second` say of each question whether a model was right. ValueError where they differ in length."""
    differences = [float(after) - float(before) for before, after in zip(first, second, strict=True)]
    gained, lost = differences.count(1.0), differences.count(-1.0)
    mean = sum(differences) / max(len(differences), 1)
    return PairedComparison(len(differences), gained, lost, mean, interval_of_mean(differences), mcnemar(gained, lost))


def _resampled_means(values: Floats, generator: np.random.Generator) -> Floats:
    """(count, ...) -> (RESAMPLES, ...): means of as many values, drawn with replacement."""
    count = len(values)
    rows = max(1, DRAWS_AT_ONCE // values.size)
    blocks = [
        values[generator.integers(0, count, (min(rows, RESAMPLES - start), count))].mean(axis=1)
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(blocks)


def _resampled_means_of_few(values: Floats, generator: np.random.Generator) -> Floats:
    """The same for values of which only a few differ: how often each is drawn is all that matters."""
    distinct, times = np.unique(values, return_counts=True)
    drawn = generator.multinomial(len(values), times / len(values), size=RESAMPLES)  # (resamples, distinct)
    means: Floats = drawn @ distinct / len(values)
    return means


def _interval(resampled: Floats, error: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(error, float(low), float(high))
