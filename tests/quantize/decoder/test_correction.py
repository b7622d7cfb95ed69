"""Making up for earlier layers' errors, against least squares in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from quantize.decoder import correction as module
from quantize.decoder.correction import Corrected, correct_weights, solve_damped
from quantize.decoder.input_statistics import Gram, InputStatistics, kept_aside
from quantize.decoder.stages import Passage

COLUMNS, ROWS = 24, 16


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def statistics(
    inputs: Sequence[Tensor],
    originals: Sequence[Tensor],
    residuals: Sequence[Tensor] | None = None,
    weights: Sequence[Tensor] | None = None,
) -> InputStatistics:
    """`residuals`: what the quantized model's residual has lost."""
    lost = [None] * len(inputs) if residuals is None else residuals
    found = [Passage(x, None if r is None else torch.zeros_like(r)) for x, r in zip(inputs, lost, strict=True)]
    expected = [Passage(y, r) for y, r in zip(originals, lost, strict=True)]
    weights = weights or [torch.ones(len(x)) for x in inputs]
    return InputStatistics.gather(found, expected, weights, kept_aside([()] * len(inputs)))


def correct(weight: Tensor, found: InputStatistics) -> Corrected:
    (corrected,) = correct_weights([weight], found)
    return corrected


def test_the_whole_correction_is_least_squares() -> None:
    """min over V of |X V^T - (Y W^T + R)|, tokens weighted, on all sequences that aren't held out."""
    weight = random(ROWS, COLUMNS, seed=0)
    inputs = [random(30, COLUMNS, seed=10 + i) for i in range(7)]
    originals = [x + 0.3 * random(30, COLUMNS, seed=30 + i) for i, x in enumerate(inputs)]
    residuals = [0.2 * random(30, ROWS, seed=50 + i) for i in range(7)]
    weights = [torch.rand(30, generator=torch.Generator().manual_seed(i)) for i in range(7)]
    found = statistics(inputs, originals, residuals, weights)
    assert len(found.held_out) == 1

    root = torch.cat(weights[:6]).sqrt()[:, None]
    x = (torch.cat(inputs[:6]) * root).double().numpy()
    wanted = (torch.cat(originals[:6]) @ weight.T + torch.cat(residuals[:6])) * root
    expected = np.linalg.lstsq(x, wanted.double().numpy(), rcond=None)[0].T
    lost = found.moments.take_lost([weight, 2 * weight])
    steps = list(solve_damped(found.moments.hessian(), lost, damping=1e-9))
    np.testing.assert_allclose(weight + steps[0], expected, atol=2e-5)
    doubled = np.linalg.lstsq(x, (2 * wanted - torch.cat(residuals[:6]) * root).double().numpy(), rcond=None)[0].T
    np.testing.assert_allclose(2 * weight + steps[1], doubled, atol=4e-5)


def test_the_hessian_is_that_of_all_tokens() -> None:
    inputs = [random(10 + i, COLUMNS, seed=i) for i in range(20)]
    weights = [torch.full((len(x),), 1.0 + i) for i, x in enumerate(inputs)]
    found = statistics(inputs, inputs, weights=weights)
    assert len(found.held_out) == 2
    x, w = torch.cat(inputs).double(), torch.cat(weights).double()
    expected = (x * w[:, None]).T @ x / w.sum()
    np.testing.assert_allclose(found.whole_hessian(), expected, rtol=1e-5, atol=1e-5)


def test_nothing_is_kept_aside_where_nothing_is_to_be_corrected() -> None:
    inputs = [random(10, COLUMNS, seed=i) for i in range(16)]
    passages = [Passage(x, None) for x in inputs]
    weights = [torch.ones(10)] * 16
    found = InputStatistics.gather(passages, passages, weights, aside={})
    assert found.held_out == []
    with pytest.raises(ValueError, match="no tokens, or taken before"):
        found.moments.take_lost([random(ROWS, COLUMNS, seed=0)])
    whole = statistics(inputs, inputs).whole_hessian()
    np.testing.assert_allclose(found.whole_hessian(), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 7, 8, 24, 25])
def test_half_of_a_gram_matrix_is_the_other(columns: int) -> None:
    gram, total = Gram(columns, torch.device("cpu")), torch.zeros(columns, columns, dtype=torch.float64)
    for index in range(3):  # asked for in between, too, as held-out sequences come last
        a, weights = random(10 + index, columns, seed=index), torch.rand(10 + index, 1)
        gram.add(a, weights * a)
        total += a.double().T @ (weights * a).double()
        np.testing.assert_allclose(gram.matrix(), total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("sequences", "held_out"), [(1, 0), (2, 1), (5, 1), (8, 1), (16, 2), (64, 8), (128, 8), (1000, 8)]
)
def test_how_many_sequences_are_held_out(sequences: int, held_out: int) -> None:
    inputs = [random(2, 4, seed=i) for i in range(sequences)]
    assert len(statistics(inputs, inputs).held_out) == held_out


def test_what_the_fit_has_seen_proves_nothing() -> None:
    """Of 16 sequences, 7 and 15 are kept aside; both begin like another one."""
    sequences: list[tuple[int | str, ...]] = [(1, 2, "picture", index) for index in range(16)]
    sequences[7] = (1, 2, "picture", 3, 8, 9)  # all of sequence 3, and more
    sequences[15] = (1, 2, "other", 15)
    aside = kept_aside(sequences)
    assert aside == {7: 4, 15: 2}
    inputs = [random(len(tokens), COLUMNS, seed=index) for index, tokens in enumerate(sequences)]
    passages = [Passage(x, None) for x in inputs]
    weights = [torch.rand(len(x), generator=torch.Generator().manual_seed(i)) for i, x in enumerate(inputs)]
    found = InputStatistics.gather(passages, passages, weights, aside)
    assert [len(drift.inputs) for drift in found.held_out] == [2, 2]
    np.testing.assert_array_equal(found.held_out[0].inputs, inputs[7][4:])
    np.testing.assert_array_equal(found.held_out[0].weights, weights[7][4:])
    x, w = torch.cat(inputs).double(), torch.cat(weights).double()
    np.testing.assert_allclose(found.whole_hessian(), (x * w[:, None]).T @ x / w.sum(), rtol=1e-5, atol=1e-5)


def test_what_holds_elsewhere_is_applied_and_noise_is_not() -> None:
    weight = random(ROWS, COLUMNS, seed=0)
    inputs = [random(40, COLUMNS, seed=10 + i) for i in range(16)]
    mixing = torch.eye(COLUMNS) + 0.2 * random(COLUMNS, COLUMNS, seed=1)
    true = statistics(inputs, [x @ mixing for x in inputs])
    chosen = correct(weight, true)
    assert chosen.share > 0.95
    error = (chosen.weight - weight @ mixing.T).norm() / (weight @ mixing.T - weight).norm()
    assert error < 0.05

    few = [random(3, COLUMNS, seed=100 + i) for i in range(16)]  # 42 tokens for 24 columns: noise is easily learned
    noise = statistics(few, [x + random(3, COLUMNS, seed=200 + i) for i, x in enumerate(few)])
    assert correct(weight, noise).share < 0.15


def test_nothing_is_applied_without_anything_to_prove_it() -> None:
    weight = random(ROWS, COLUMNS, seed=0)
    alone = statistics([random(40, COLUMNS, seed=1)], [random(40, COLUMNS, seed=2)])
    chosen = correct(weight, alone)
    assert (chosen.share, chosen.gain) == (0, 0)
    assert chosen.weight is weight


def test_the_chosen_share_is_the_best_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against every share on a fine grid, by the error on the held-out sequences themselves."""
    monkeypatch.setattr(module, "DAMPINGS", (0.1,))
    weight = random(ROWS, COLUMNS, seed=0)
    inputs = [random(12, COLUMNS, seed=10 + i) for i in range(8)]
    originals = [x @ (torch.eye(COLUMNS) + 0.1) + 0.3 * random(12, COLUMNS, seed=40 + i) for i, x in enumerate(inputs)]
    chosen = correct(weight, statistics(inputs, originals))
    whole = (chosen.weight - weight) / chosen.share
    x, y = inputs[7], originals[7]

    def error(share: float) -> float:
        return float((x @ (weight + share * whole).T - y @ weight.T).square().sum())

    shares = np.linspace(0, 1, 101)
    assert chosen.share == pytest.approx(shares[np.argmin([error(share) for share in shares])], abs=0.01)
    assert chosen.gain == pytest.approx(error(0.0) - error(chosen.share), rel=1e-3)


@pytest.mark.parametrize(("elsewhere", "share"), [(3.0, 1.0), (-1.0, 0.0)], ids=["three times as much", "the reverse"])
def test_no_more_is_applied_than_was_learned_and_never_the_reverse(elsewhere: float, share: float) -> None:
    """What was lost is the same multiple of the inputs on all sequences but the one that is held out."""
    weight, mixing = random(ROWS, COLUMNS, seed=0), 0.2 * random(COLUMNS, COLUMNS, seed=1)
    inputs = [random(40, COLUMNS, seed=10 + i) for i in range(8)]
    originals = [x + (elsewhere if i == 7 else 1.0) * x @ mixing for i, x in enumerate(inputs)]
    chosen = correct(weight, statistics(inputs, originals))
    assert chosen.share == share
    if not share:
        assert chosen.gain == 0
        assert chosen.weight is weight
