"""GPTQ against a slow, direct implementation of the paper, and against rounding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnilmm_lite.errors import InputError
from quantize.gptq import cholesky
from quantize.gptq.gptq import Columns, _Problem, proxy_loss, quantize_weight, round_to_nearest
from quantize.gptq.grid import Grid, GridMethod, GridScheme

Array64 = NDArray[np.float64]
GROUP_SIZES = (32, 64, 128, -1)


def problem(seed: int, rows: int = 48, columns: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight with outliers, and a Hessian of correlated inputs of very different sizes, as in language models."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(1024, columns, generator=generator) * torch.logspace(0, -2, columns)
    inputs = latent @ torch.randn(columns, columns, generator=generator) / columns**0.5
    inputs += 0.02 * torch.randn(inputs.shape, generator=generator)
    inputs *= torch.exp(0.7 * torch.randn(columns, generator=generator))
    weight = 0.02 * torch.randn(rows, columns, generator=generator)
    weight *= 1 + 4 * (torch.rand(weight.shape, generator=generator) < 0.01)
    return weight, inputs.T @ inputs / len(inputs)


# ---- the paper's algorithm, written down as it is explained: one weight after another, the inverse Hessian of the
# columns that are left downdated by Gaussian elimination, float64 throughout ----


def min_max_grid(group: Array64, bits: int, sym: bool) -> tuple[Array64, Array64]:
    top = 2**bits - 1
    low, high = np.minimum(group.min(1), 0), np.maximum(group.max(1), 0)
    if sym:
        scale = 2 * np.maximum(-low, high) / top
        return scale.astype(np.float16).astype(np.float64), np.full_like(scale, 2 ** (bits - 1))
    scale = ((high - low) / top).astype(np.float16).astype(np.float64)
    return scale, np.clip(np.round(-low / scale), 0, top)


def direct_gptq(
    weight: torch.Tensor, hessian: torch.Tensor, *, bits: int, group_size: int, sym: bool, desc_act: bool, damp: float
) -> Array64:
    left = weight.numpy().astype(np.float64)
    original = left.copy()
    damped = hessian.numpy().astype(np.float64)
    damped = damped + damp * np.diag(damped).mean() * np.eye(len(damped))
    inverse = np.linalg.inv(damped)
    size = weight.shape[1] if group_size == -1 else group_size
    order = np.argsort(-np.diag(hessian.numpy()), kind="stable") if desc_act else np.arange(weight.shape[1])
    grids: dict[int, tuple[Array64, Array64]] = {}
    result = np.zeros_like(left)
    for place, column in enumerate(order):
        group = int(column) // size
        if group not in grids:
            source = original if desc_act else left  # static groups, or as they are when their turn comes
            grids[group] = min_max_grid(source[:, group * size : (group + 1) * size], bits, sym)
        scale, zero = grids[group]
        codes = np.clip(np.round(left[:, column] / scale) + zero, 0, 2**bits - 1)
        result[:, column] = (codes - zero) * scale
        error = (left[:, column] - result[:, column]) / inverse[column, column]
        rest = order[place + 1 :]
        left[:, rest] -= np.outer(error, inverse[column, rest])
        inverse -= np.outer(inverse[:, column], inverse[column, :]) / inverse[column, column]
    return result


def direct_loss(weight: torch.Tensor, approximation: Array64, hessian: torch.Tensor) -> float:
    difference = weight.numpy().astype(np.float64) - approximation
    return float(np.trace(difference @ hessian.numpy().astype(np.float64) @ difference.T))


@pytest.mark.parametrize("desc_act", [False, True], ids=["in-order", "act-order"])
@pytest.mark.parametrize("sym", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("group_size", GROUP_SIZES)
def test_plain_gptq_reaches_the_papers_loss(group_size: int, sym: bool, desc_act: bool) -> None:
    for seed in range(3):
        weight, hessian = problem(seed)
        ours = quantize_weight(weight, hessian, group_size=group_size, sym=sym, desc_act=desc_act)
        direct = direct_gptq(weight, hessian, bits=4, group_size=group_size, sym=sym, desc_act=desc_act, damp=0.01)
        loss = direct_loss(weight, ours.dequantize().astype(np.float64), hessian)
        assert loss == pytest.approx(direct_loss(weight, direct, hessian), rel=0.01)
        assert np.mean(ours.dequantize() == direct.astype(np.float32)) > 0.98  # ties in float32 fall either way
        rounded = round_to_nearest(weight, group_size=group_size, sym=sym)
        assert loss < 0.6 * direct_loss(weight, rounded.dequantize().astype(np.float64), hessian)


@pytest.mark.parametrize("desc_act", [False, True], ids=["in-order", "act-order"])
@pytest.mark.parametrize("sym", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("group_size", GROUP_SIZES)
def test_weighted_grids_lower_the_loss(group_size: int, sym: bool, desc_act: bool) -> None:
    """Less is gained where grids are static: most weights have moved by the time they are rounded."""
    losses = dict.fromkeys(GridMethod, 0.0)
    for seed in range(4):
        weight, hessian = problem(seed)
        for method in GridMethod:
            quantized = quantize_weight(weight, hessian, group_size=group_size, sym=sym, desc_act=desc_act, grid=method)
            losses[method] += proxy_loss(weight, quantized, hessian) / float(hessian.diagonal().sum())
    gain = losses[GridMethod.WEIGHTED] / losses[GridMethod.MIN_MAX]
    assert gain < (0.85 if sym or not desc_act else 0.97)


def test_eight_bits_against_the_paper() -> None:
    weight, hessian = problem(0)
    ours = quantize_weight(weight, hessian, bits=8, sym=False)
    direct = direct_gptq(weight, hessian, bits=8, group_size=128, sym=False, desc_act=False, damp=0.01)
    assert proxy_loss(weight, ours, hessian) == pytest.approx(direct_loss(weight, direct, hessian), rel=0.01)


@pytest.mark.parametrize("columns", [192, 320])
def test_groups_that_dont_align_with_blocks(columns: int) -> None:
    """Groups of 160 begin within a block of 128, groups of 96 leave a rest in it."""
    weight, hessian = problem(1, columns=columns)
    for group_size in (columns // 2, columns):
        ours = quantize_weight(weight, hessian, group_size=group_size)
        direct = direct_gptq(weight, hessian, bits=4, group_size=group_size, sym=True, desc_act=False, damp=0.01)
        assert proxy_loss(weight, ours, hessian) == pytest.approx(direct_loss(weight, direct, hessian), rel=0.01)


def test_proxy_loss_is_the_output_error() -> None:
    """tr(E X^T X E^T) = |X E^T|^2, on numbers small enough to check by hand: E = [1, 2], x = (1, 1) and (0, 2)."""
    inputs = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    weight, approximation = torch.tensor([[3.0, 2.0]]), torch.tensor([[2.0, 0.0]])
    assert proxy_loss(weight, approximation, inputs.T @ inputs) == 3.0**2 + 4.0**2


def test_nothing_depends_on_the_hessians_scale_or_on_the_array_library() -> None:
    weight, hessian = problem(2)
    expected = quantize_weight(weight, hessian, desc_act=True, grid=GridMethod.WEIGHTED)
    scaled = quantize_weight(weight.numpy(), (1024 * hessian).numpy(), desc_act=True, grid=GridMethod.WEIGHTED)
    for field in dataclasses.fields(expected):
        np.testing.assert_array_equal(getattr(expected, field.name), getattr(scaled, field.name))


@pytest.mark.parametrize("method", GridMethod)
@pytest.mark.parametrize("sym", [True, False])
def test_what_is_stored_is_what_was_used(sym: bool, method: GridMethod) -> None:
    weight, hessian = problem(0)
    before = weight.clone(), hessian.clone()
    quantized = quantize_weight(weight, hessian, sym=sym, grid=method)
    assert torch.equal(weight, before[0])
    assert torch.equal(hessian, before[1])
    np.testing.assert_array_equal(quantized.scales, quantized.scales.astype(np.float16).astype(np.float32))
    assert quantized.codes.max() <= 15
    assert quantized.zeros.min() >= 1  # 0 wraps in the GPTQ checkpoint's zero points
    assert quantized.zeros.max() <= 15
    if sym:
        assert (quantized.zeros == 8).all()
    first = (quantized.codes[3, 200] - float(quantized.zeros[3, 1])) * quantized.scales[3, 1]
    assert quantized.dequantize()[3, 200] == first


@pytest.mark.parametrize("desc_act", [False, True])
@pytest.mark.parametrize("group_size", [64, 256])
@pytest.mark.parametrize("scheme", [GridScheme(4, sym=False), GridScheme(4, sym=True), GridScheme(8, sym=False)])
def test_each_code_is_the_grids_nearest_to_what_its_column_had_become(
    scheme: GridScheme, group_size: int, desc_act: bool
) -> None:
    """To the bit: the loop over columns writes `Grid.encode` in fewer operators."""
    weight, hessian = problem(4)
    columns = Columns.of(hessian, desc_act=desc_act, damp=0.01)
    rounding = _Problem(weight, columns, group_size).solve(scheme, weight)
    scale, zero = (part.repeat_interleave(group_size, 1) for part in (rounding.scale, rounding.zero))  # (out, in)
    assert torch.equal(rounding.codes.float(), Grid(scale, zero, scheme.max_code).encode(rounding.reached))
    assert rounding.codes.min() == 0
    assert rounding.codes.max() == scheme.max_code


@pytest.mark.parametrize("desc_act", [False, True])
def test_dead_columns_are_rounded_and_dont_widen_grids(desc_act: bool) -> None:
    weight, hessian = problem(0, columns=128)
    dead = [0, 5, 77]
    hessian[dead] = 0
    hessian[:, dead] = 0
    weight[:, 5] = 10.0
    for method in GridMethod:
        quantized = quantize_weight(weight, hessian, sym=False, desc_act=desc_act, grid=method)
        half_step = quantized.scales[:, 0] / 2
        assert half_step.max() < 0.02  # the column of tens had no say
        inside = np.abs(weight.numpy()[:, 77]) < 4 * half_step
        assert (np.abs(quantized.dequantize() - weight.numpy())[inside, 77] <= half_step[inside] * 1.01).all()


def test_a_hessian_that_isnt_positive_definite_is_damped_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    weight, hessian = problem(0)
    eigenvalues, vectors = torch.linalg.eigh(hessian)
    eigenvalues[:20] = -0.05 * hessian.diagonal().mean()
    broken = vectors * eigenvalues @ vectors.T
    quantized = quantize_weight(weight, broken)
    assert "damping raised" in caplog.text
    assert proxy_loss(weight, quantized, hessian) < proxy_loss(weight, round_to_nearest(weight), hessian)


def test_an_input_that_was_always_zero_damps_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The others' factor is the one that they have alone: of H = diag(4, 0, 16), 1/2 and 1/4."""
    columns = Columns.of(torch.tensor([4.0, 0.0, 16.0]).diag(), desc_act=False, damp=0.0)
    assert columns.factor.diagonal()[[0, 2]].tolist() == [0.5, 0.25]
    assert columns.importance.tolist() == [4.0, 0.0, 16.0]
    assert "damping raised" not in caplog.text


def test_few_inputs_without_any_damping() -> None:
    """Fewer inputs than columns leave the Hessian singular."""
    weight, _ = problem(0)
    inputs = torch.randn(10, 256, generator=torch.Generator().manual_seed(0))
    hessian = inputs.T @ inputs
    quantized = quantize_weight(weight, hessian, damp=0.0)
    assert proxy_loss(weight, quantized, hessian) < proxy_loss(weight, round_to_nearest(weight), hessian)


def test_without_any_inputs_it_is_rounding() -> None:
    weight, hessian = problem(0)
    quantized = quantize_weight(weight, torch.zeros_like(hessian))
    assert np.isfinite(quantized.dequantize()).all()


def test_a_weight_of_zeros() -> None:
    _, hessian = problem(0)
    for sym in (True, False):
        for method in GridMethod:
            quantized = quantize_weight(torch.zeros(8, 256), hessian, sym=sym, grid=method)
            assert not quantized.dequantize().any()


@pytest.mark.parametrize("size", [1, 2, 5, 8, 31])
def test_a_triangle_is_inverted_by_halves(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cholesky, "INVERTED_AT_ONCE", 2)
    generator = torch.Generator().manual_seed(size)
    lower = torch.randn(size, size, generator=generator, dtype=torch.float64).tril() + 3 * torch.eye(size)
    expected = np.linalg.inv(lower.numpy())
    cholesky.invert_triangle(lower)
    np.testing.assert_allclose(lower, expected, atol=1e-12)


def test_weights_of_the_same_inputs_share_what_is_prepared() -> None:
    weight, hessian = problem(0)
    columns = Columns.of(hessian, desc_act=True, damp=0.01)
    for part in (weight[:16], weight[16:]):  # rows know nothing of each other
        found = columns.quantize(part, 4, 64, sym=False, grid=GridMethod.WEIGHTED)
        alone = quantize_weight(part, hessian, group_size=64, sym=False, desc_act=True, grid=GridMethod.WEIGHTED)
        np.testing.assert_array_equal(found.codes, alone.codes)
        np.testing.assert_array_equal(found.rows(slice(3, 5)).dequantize(), alone.dequantize()[3:5])


def test_refusals() -> None:
    weight, hessian = problem(0)
    with pytest.raises(InputError, match=r"256 input columns, which groups of 96 don't divide"):
        quantize_weight(weight, hessian, group_size=96)
    with pytest.raises(InputError, match=r"bits must be one of \(4, 8\), not 3"):
        quantize_weight(weight, hessian, bits=3)
    with pytest.raises(InputError, match=r"a Hessian of 8 columns needs a weight \(out, 8\), not \(48, 256\)"):
        quantize_weight(weight, hessian[:8, :8])
    with pytest.raises(InputError, match=r"a Hessian is square, \(in, in\), but this one's shape is \(8, 256\)"):
        quantize_weight(weight, hessian[:8])
    with pytest.raises(InputError, match="the Hessian holds NaN or infinity"):
        quantize_weight(weight, hessian * torch.nan)
    with pytest.raises(InputError, match="damp must be zero or more"):
        quantize_weight(weight, hessian, damp=-0.1)


@pytest.mark.parametrize(("desc_act", "expected"), [(False, [2 - 1 / 3, 3.0]), (True, [2.0, 3 - 1 / 2])])
def test_a_columns_importance_is_what_its_error_costs_in_the_end(desc_act: bool, expected: list[float]) -> None:
    """H = [2 1; 1 3]: an error of 1 in the first column to be rounded is made up for by d in the other, as far as
    possible: the least of 2 + 2d + 3d^2 is 2 - 1/3, that of 3 + 2d + 2d^2 is 3 - 1/2. The last column's error stays."""
    columns = Columns.of(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), desc_act=desc_act, damp=0.0)
    np.testing.assert_allclose(columns.importance, expected, rtol=1e-5)
