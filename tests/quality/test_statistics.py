"""Distances of distributions and their errors, against torch and numbers worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.quality import statistics
from omnilmm_lite.quality.statistics import (
    ROWS_AT_ONCE,
    Estimate,
    Scores,
    kl_divergence,
    log_softmax,
    mean,
    percentiles,
    score,
    summarize,
)


def logits_of(*rows: list[float]) -> NDArray[np.float32]:
    """Logits, shifted as logits are, whose softmax is `rows`."""
    return np.asarray(np.log(np.asarray(rows)) + 3, np.float32)


def random_logits(seed: int, rows: int, vocab: int) -> NDArray[np.float32]:
    return np.asarray(5 * np.random.default_rng(seed).standard_normal((rows, vocab)), np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


def test_on_paper() -> None:
    base = logits_of([0.5, 0.5], [0.25, 0.75])
    model = logits_of([0.25, 0.75], [0.5, 0.5])
    scores = score(base, model, ints(0, 1))
    first = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    second = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    np.testing.assert_allclose(scores.kld, [first, second], rtol=1e-6)
    np.testing.assert_allclose(np.exp(scores.log_p_base), [0.5, 0.75], rtol=1e-6)
    np.testing.assert_allclose(scores.delta_p, [-0.25, -0.25], rtol=1e-6)
    assert scores.top_base.tolist() == [0, 1]
    assert scores.top.tolist() == [1, 0]
    assert scores.agrees.tolist() == [False, False]


def test_against_torch() -> None:
    """More rows than are worked on at once."""
    rows, vocab = ROWS_AT_ONCE + 7, 300
    base, model = random_logits(0, rows, vocab), random_logits(1, rows, vocab)
    targets = np.random.default_rng(2).integers(0, vocab, rows)
    scores = score(base, model, targets)
    log_p, log_q = (torch.from_numpy(logits).double().log_softmax(-1) for logits in (base, model))
    kld = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    np.testing.assert_allclose(scores.kld, kld.numpy(), rtol=1e-10)
    loss = F.cross_entropy(torch.from_numpy(model).double(), torch.from_numpy(targets), reduction="none")
    np.testing.assert_allclose(-scores.log_p, loss.numpy(), rtol=1e-10)
    assert scores.top_base.tolist() == base.argmax(-1).tolist()


def test_identical_models_are_exactly_zero_apart() -> None:
    logits = random_logits(0, 40, 500)
    scores = score(logits, logits.copy(), np.arange(40))
    summary = summarize(scores, np.repeat(np.arange(8), 5))
    assert summary.kld_mean == Estimate(0.0, 0.0)
    assert summary.kld_max == 0.0
    assert all(estimate == Estimate(0.0, 0.0) for estimate in summary.kld_percentiles.values())
    assert summary.perplexity_ratio == Estimate(1.0, 0.0)
    assert summary.top1_agreement == Estimate(1.0, 0.0)
    assert summary.delta_p_rms == Estimate(0.0, 0.0)


def test_large_logits_stay_finite() -> None:
    logits = np.asarray([[30000.0, -30000.0]], np.float32)
    np.testing.assert_array_equal(log_softmax(logits), [[0.0, -60000.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers(bad: float) -> None:
    good = random_logits(0, 2, 4)
    broken = good.copy()
    broken[1, 2] = bad
    with pytest.raises(OmniLMMError, match="the bundle gives logits that are not finite"):
        score(good, broken, ints(0, 0))
    with pytest.raises(OmniLMMError, match="the model held against gives logits"):
        score(broken, good, ints(0, 0))


def test_a_mean_over_sequences_of_different_lengths() -> None:
    # mean 3; the sequences' sums are off by 1 - 3 = -2 and 8 - 6 = 2; variance 2/1 * (4 + 4) / 3^2
    estimate = mean(np.asarray([1.0, 2.0, 6.0]), ints(7, 4, 4))
    assert estimate.value == 3.0
    assert estimate.error == pytest.approx((16 / 9) ** 0.5)


def test_one_position_a_sequence_is_the_usual_error() -> None:
    values = np.random.default_rng(0).standard_normal(50)
    estimate = mean(values, np.arange(50))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.error == pytest.approx(values.std(ddof=1) / 50**0.5)


def test_one_sequence_has_no_error() -> None:
    values = np.asarray([1.0, 2.0, 4.0])
    assert mean(values, ints(3, 3, 3)) == Estimate(values.mean(), None)
    assert percentiles(values, ints(3, 3, 3), [0.5]) == {"50": Estimate(2.0, None)}


def test_the_error_is_how_much_new_sequences_would_change_the_mean() -> None:
    """Positions of a sequence share most of their deviation: counting them as independent would be three times off."""
    random = np.random.default_rng(0)
    sequences = np.repeat(np.arange(40), 10)
    estimates = []
    for _ in range(300):
        values = random.standard_normal(40)[sequences] + 0.3 * random.standard_normal(400)
        estimates.append(mean(values, sequences))
    found = np.std([estimate.value for estimate in estimates])
    claimed = np.mean([estimate.error for estimate in estimates if estimate.error is not None])
    assert claimed == pytest.approx(found, rel=0.12)


def test_percentiles_are_numpys() -> None:
    values = np.random.default_rng(0).standard_normal(101)
    found = percentiles(values, np.arange(101), [0.001, 0.5, 0.99])
    assert [estimate.value for estimate in found.values()] == np.quantile(values, [0.001, 0.5, 0.99]).tolist()
    assert list(found) == ["0.1", "50", "99"]


def test_the_medians_error() -> None:
    """The median of n normal numbers deviates by sqrt(pi / 2n), and no less where each stands there ten times."""
    values = np.random.default_rng(3).standard_normal(2000)
    once = percentiles(values, np.arange(2000), [0.5])["50"]
    repeated = percentiles(np.repeat(values, 10), np.repeat(np.arange(2000), 10), [0.5])["50"]
    assert once.error == pytest.approx((np.pi / 4000) ** 0.5, rel=0.2)
    assert repeated.error == pytest.approx(once.error, rel=0.05)


def test_a_summary_on_paper() -> None:
    scores = Scores(
        kld=np.asarray([0.0, 0.1, 0.3, 0.4]),
        log_p_base=np.log([0.5, 0.5, 0.25, 0.25]),
        log_p=np.log([0.25, 0.5, 0.25, 0.5]),
        top_base=ints(1, 2, 3, 4),
        top=ints(1, 2, 3, 5),
    )
    summary = summarize(scores, ints(0, 0, 1, 1))
    assert (summary.positions, summary.sequences) == (4, 2)
    assert summary.perplexity_base.value == pytest.approx(2**1.5)  # bits: 1, 1, 2, 2
    assert summary.perplexity.value == pytest.approx(2**1.5)  # bits: 2, 1, 2, 1
    assert summary.perplexity_ratio.value == pytest.approx(1.0)
    # the sequences' sums of differences are ln 2 and -ln 2; variance 2/1 * 2 (ln 2)^2 / 4^2
    assert summary.log_perplexity_ratio.error == pytest.approx(np.log(2) / 2)
    assert summary.kld_mean.value == pytest.approx(0.2)
    assert summary.kld_percentiles["50"].value == pytest.approx(0.2)
    assert summary.kld_max == 0.4
    assert summary.top1_agreement.value == 0.75
    assert summary.delta_p_mean.value == pytest.approx(0.0)
    assert summary.delta_p_rms.value == pytest.approx((2 * 0.25**2 / 4) ** 0.5)
    assert summary.delta_p_rms.error == pytest.approx(0.0)  # both sequences have the same squares


def test_a_percentiles_error_is_the_deviation_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two resamples, which are no whole population, the deviation is their difference over the root of two."""
    monkeypatch.setattr(statistics, "RESAMPLES", 2)
    values = np.asarray([2.0**power for power in range(9)])  # so that two differences are never the same
    error = percentiles(values, np.arange(9), [0.5])["50"].error
    differences = [(high - low) / 2**0.5 for high in values for low in values if high > low]
    assert any(error == pytest.approx(each) for each in differences)


def test_divergence_is_torchs_over_more_rows_than_a_block() -> None:
    random = np.random.default_rng(3)
    base, model = (random.normal(0, 4, (2 * ROWS_AT_ONCE + 5, 50)).astype(np.float32) for _ in range(2))
    p, q = (torch.from_numpy(logits).double().log_softmax(-1) for logits in (base, model))
    expected = F.kl_div(q, p, reduction="none", log_target=True).sum(-1).numpy()
    np.testing.assert_allclose(kl_divergence(base, model), expected, rtol=1e-10)
    assert kl_divergence(base[:0], model[:0]).shape == (0,)
