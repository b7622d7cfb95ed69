"""Distances of next-token distributions and their means, in numpy and float64.

Positions of one sequence resemble each other, so every error says how much a figure would change with other
*sequences*: means get a standard error over sequences, percentiles the deviation over bootstrap resamples of whole
sequences. The figures are those of llama.cpp's llama-perplexity --kl-divergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.errors import OmniLMMError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS_AT_ONCE = 64  # 32,009 float64 numbers each: 16 MB an array
RESAMPLES = 500
KLD_SHARES = (0.5, 0.9, 0.99, 0.999)
NORMAL_95 = 1.959963984540054  # so many deviations of a normal distribution hold 95 %
DELTA_P_SHARES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Scores:
    """One entry a position; `base` is the model that the other one is held against."""

    kld: Floats  # nats, KL(base || model)
    log_p_base: Floats  # of the true next token
    log_p: Floats
    top_base: Ints  # the likeliest next token
    top: Ints

    @property
    def delta_p(self) -> Floats:
        """How much more likely the model finds the true token than the base does: -1 to 1."""
        difference: Floats = np.exp(self.log_p) - np.exp(self.log_p_base)
        return difference

    @property
    def agrees(self) -> NDArray[np.bool_]:
        same: NDArray[np.bool_] = self.top == self.top_base
        return same

    def __len__(self) -> int:
        return len(self.kld)

    def __getitem__(self, which: NDArray[np.bool_] | slice) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Scores]) -> Self:
        return cls(**{each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)})


@dataclass(frozen=True)
class Estimate:
    value: float
    error: float | None  # one standard deviation; None where a single sequence tells nothing about others


@dataclass(frozen=True)
class Summary:
    """The figures of one kind of position. Shares (of agreement, of probability) are from 0 to 1."""

    positions: int
    sequences: int
    perplexity_base: Estimate
    perplexity: Estimate
    perplexity_ratio: Estimate  # of the two above, its error from the paired differences
    log_perplexity_ratio: Estimate
    kld_mean: Estimate
    kld_percentiles: dict[str, Estimate]  # by KLD_SHARES
    kld_max: float
    top1_agreement: Estimate
    delta_p_mean: Estimate
    delta_p_rms: Estimate
    delta_p_percentiles: dict[str, Estimate]  # by DELTA_P_SHARES


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """(rows, vocab) -> the same shape in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def kl_divergence(base: NDArray[np.float32], model: NDArray[np.float32]) -> Floats:
    """KL(base || model) of the next-token distributions of two sets of logits, (positions, vocab) each.

    Nats, float64 (positions,), never negative; NaN where a logit isn't finite.
    """
    blocks = [slice(start, start + ROWS_AT_ONCE) for start in range(0, max(len(base), 1), ROWS_AT_ONCE)]
    return np.concatenate([_divergence(log_softmax(base[rows]), log_softmax(model[rows])) for rows in blocks])


def _divergence(log_p: Floats, log_q: Floats) -> Floats:
    """KL(p || q) of each row, (rows, vocab) -> (rows,); rounding leaves -1e-17 where the two are all but equal."""
    nats: Floats = np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=-1), 0.0)
    return nats


def score(base: NDArray[np.float32], model: NDArray[np.float32], targets: Ints) -> Scores:
    """Compares two models' logits, (positions, vocab) each, before the tokens `targets` (positions,).

    OmniLMMError where a logit isn't finite.
    """
    blocks = [slice(start, start + ROWS_AT_ONCE) for start in range(0, max(len(targets), 1), ROWS_AT_ONCE)]
    return Scores.concatenate([_score_block(base[rows], model[rows], targets[rows]) for rows in blocks])


def _score_block(base: NDArray[np.float32], model: NDArray[np.float32], targets: Ints) -> Scores:
    for name, logits in (("the model held against", base), ("the bundle", model)):
        if not np.isfinite(logits).all():
            raise OmniLMMError(f"quality: {name} gives logits that are not finite; nothing can be compared")
    log_p, log_q = log_softmax(base), log_softmax(model)
    where = np.arange(len(targets))
    return Scores(
        kld=_divergence(log_p, log_q),
        log_p_base=log_p[where, targets],
        log_p=log_q[where, targets],
        top_base=base.argmax(axis=-1).astype(np.int64),
        top=model.argmax(axis=-1).astype(np.int64),
    )


def summarize(scores: Scores, sequences: Ints) -> Summary:
    """The figures of some positions, at least one; `sequences` (positions,) says which sequence each stands in."""
    base, model = mean(-scores.log_p_base, sequences), mean(-scores.log_p, sequences)
    ratio = mean(scores.log_p_base - scores.log_p, sequences)
    return Summary(
        positions=len(scores),
        sequences=len(np.unique(sequences)),
        perplexity_base=_exp(base),
        perplexity=_exp(model),
        perplexity_ratio=_exp(ratio),
        log_perplexity_ratio=ratio,
        kld_mean=mean(scores.kld, sequences),
        kld_percentiles=percentiles(scores.kld, sequences, KLD_SHARES),
        kld_max=float(scores.kld.max()),
        top1_agreement=mean(scores.agrees.astype(np.float64), sequences),
        delta_p_mean=mean(scores.delta_p, sequences),
        delta_p_rms=_sqrt(mean(scores.delta_p**2, sequences)),
        delta_p_percentiles=percentiles(scores.delta_p, sequences, DELTA_P_SHARES),
    )


def mean(values: Floats, sequences: Ints) -> Estimate:
    """The mean over positions and its standard error over sequences.

    The mean is a ratio of two sums over sequences, of values and of positions; its error is the ratio estimator's
    (Cochran, Sampling Techniques, 6.4). With one position a sequence it is the usual error of a mean.
    """
    _, group = np.unique(sequences, return_inverse=True)
    counts = np.bincount(group)
    value = float(values.mean())
    if len(counts) < 2:
        return Estimate(value, None)
    residuals = np.bincount(group, weights=values) - value * counts
    variance = len(counts) / (len(counts) - 1) * float((residuals**2).sum()) / len(values) ** 2
    return Estimate(value, variance**0.5)


def percentiles(values: Floats, sequences: Ints, shares: Sequence[float]) -> dict[str, Estimate]:
    """Percentiles, named as "99.9", and their deviation over seeded bootstrap resamples of whole sequences."""
    found = np.quantile(values, shares)
    names = [f"{100 * share:g}" for share in shares]
    order = np.argsort(values, kind="stable")
    _, group = np.unique(sequences, return_inverse=True)
    count = int(group.max()) + 1
    if count < 2:
        return {name: Estimate(float(value), None) for name, value in zip(names, found, strict=True)}
    random = np.random.default_rng(0)
    resampled = np.empty((RESAMPLES, len(shares)))
    for row in resampled:
        times = np.bincount(random.integers(0, count, count), minlength=count)  # how often each sequence was drawn
        reached = np.cumsum(times[group][order])  # positions up to each value, smallest first
        places = np.searchsorted(reached, np.asarray(shares) * (reached[-1] - 1), side="right")
        row[:] = values[order][places]
    errors = resampled.std(axis=0, ddof=1)
    return {name: Estimate(float(v), float(e)) for name, v, e in zip(names, found, errors, strict=True)}


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """The ends of the 95 % score interval of a share of `count`, at least one; they never leave 0 to 1.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    share = hits / count
    centre = share + NORMAL_95**2 / (2 * count)
    half: float = NORMAL_95 * (share * (1 - share) / count + (NORMAL_95 / (2 * count)) ** 2) ** 0.5
    scale = 1 + NORMAL_95**2 / count
    low = max(0.0, (centre - half) / scale) if hits else 0.0  # exactly, which a rounding could miss
    return low, min(1.0, (centre + half) / scale) if hits < count else 1.0


def _exp(estimate: Estimate) -> Estimate:
    value = float(np.exp(estimate.value))
    return Estimate(value, None if estimate.error is None else value * estimate.error)


def _sqrt(estimate: Estimate) -> Estimate:
    value = estimate.value**0.5
    if estimate.error is None or value == 0.0:
        return Estimate(value, estimate.error)
    return Estimate(value, estimate.error / (2 * value))
