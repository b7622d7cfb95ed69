"""How far a benchmark's figure can be trusted, and whether two models differ; numpy and float64.

Questions are taken for a sample of all such questions. The interval of a share is Wilson's; that of a mean, a sum of
means or a ratio is percentiles of bootstrap resamples with a fixed seed, so the same answers give the same digits.

Where all values agree, each resample is the sample, as if nothing could come out otherwise. There, the share of values
that would come out otherwise is drawn from its posterior by Jeffreys' prior, Beta(1/2, n + 1/2), and those values are
put to the end of the scale: the widest interval that as many equal values leave open. Such values lie at one end of the
scale themselves, as a rule, and can only move away from it, so what moves down widens the interval below, and what
moves up above; the rest of a sum keeps its own width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.quality.statistics import wilson_interval

Floats = NDArray[np.float64]
Bounds = tuple[float, float]

RESAMPLES = 10_000
LEVEL = 0.95  # as of `wilson_interval`
SEED = 0
FEW = 16  # right and wrong, or ratings
DRAWS_AT_ONCE = 1 << 20  # random numbers: 8 MB


@dataclass(frozen=True)
class Interval:
    """`error` is one standard error, None where all values agree, which tells none; `low` and `high` hold the true
    value with probability LEVEL."""

    error: float | None
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """In another unit; `factor` is positive."""
        return Interval(None if self.error is None else factor * self.error, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same questions. Shares are from 0 to 1, differences second minus first."""

    questions: int
    gained: int  # wrong at first, right with the second
    lost: int  # right at first, wrong with the second
    difference: float
    interval: Interval | None  # of the difference; None with less than two questions
    p_value: float  # McNemar's exact test, two-sided


def interval_of_share(hits: Sequence[bool]) -> Interval | None:
    """Of the share of `hits`, 0 to 1; None with less than two. The score interval (Wilson 1927), which has a width
    where all or none hit, too, and covers what it promises on average at any share (Brown, Cai and DasGupta 2001)."""
    count = len(hits)
    if count < 2:
        return None
    share = sum(hits) / count
    error = math.sqrt(share * (1 - share) / (count - 1)) or None
    return Interval(error, *wilson_interval(sum(hits), count))


def interval_of_mean(values: Sequence[float], bounds: Bounds) -> Interval | None:
    """Of a mean; None with less than two values. `bounds`: between what a value can lie."""
    return interval_of_sum_of_means([values], bounds)


def interval_of_sum_of_means(strata: Sequence[Sequence[float]], bounds: Bounds) -> Interval | None:
    """Of the sum of each stratum's mean, each resampled by itself; None where a stratum has less than two values.
    `bounds`: between what a value can lie."""
    if not strata or any(len(stratum) < 2 for stratum in strata):
        return None
    arrays = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    error = math.sqrt(sum(float(array.var(ddof=1)) / len(array) for array in arrays))
    generator = np.random.default_rng(SEED)
    resampled, moves = np.zeros(RESAMPLES), np.zeros((2, RESAMPLES))
    for array in arrays:
        if (array == array[0]).all():
            resampled = resampled + array[0]
            moves = moves + _moves_of_equals(float(array[0]), len(array), bounds, generator)
        else:
            resampled = resampled + _means(array, generator)
    return _interval(resampled, error, moves)


def interval_of_ratio(
    numerators: Sequence[float], denominators: Sequence[float], bounds: Bounds | None
) -> Interval | None:
    """Of sum(numerators) / sum(denominators), pairs resampled together; None where that can't be told.

    `bounds`: between what a pair's own ratio can lie; None where there is no telling, and then there is no interval
    where all ratios agree. The error is the ratio estimator's (Cochran, Sampling Techniques, 6.4).
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    count, total = len(above), float(below.sum())
    pairs = int(np.count_nonzero(below))
    if pairs < 2 or total == 0.0:
        return None
    ratio = float(above.sum()) / total
    residuals = above - ratio * below
    if np.allclose(residuals, 0.0):
        if bounds is None:
            return None
        moves = _moves_of_equals(ratio, pairs, bounds, np.random.default_rng(SEED))
        return _interval(np.full(RESAMPLES, ratio), 0.0, moves)
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
    return PairedComparison(
        len(differences), gained, lost, mean, interval_of_mean(differences, (-1.0, 1.0)), mcnemar(gained, lost)
    )


def _means(values: Floats, generator: np.random.Generator) -> Floats:
    """(RESAMPLES,)"""
    few = len(np.unique(values)) <= FEW
    return _resampled_means_of_few(values, generator) if few else _resampled_means(values, generator)


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


def _moves_of_equals(value: float, count: int, bounds: Bounds, generator: np.random.Generator) -> Floats:
    """(2, RESAMPLES): how far the mean of `count` values, all of which were `value`, may lie below it, and above."""
    share = generator.beta(0.5, count + 0.5, size=RESAMPLES)
    moves: Floats = share * (np.asarray(bounds)[:, None] - value)
    return moves


def _interval(resampled: Floats, error: float, moves: Floats | None = None) -> Interval:
    """`moves`: (2, resamples), what is added for the lower end and for the upper. An `error` of 0 tells none."""
    below, above = np.zeros(2) if moves is None else moves
    low = float(np.quantile(resampled + below, (1 - LEVEL) / 2))
    high = float(np.quantile(resampled + above, (1 + LEVEL) / 2))
    return Interval(error or None, low, high)
