"""Pairs of 8-bit codes against a 16-bit adder: paper, Intel's instruction spelled out, and GPTQ under the limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from export.graphs.graph import GraphBuilder
from export.graphs.int8_layers import int8_linear
from export.weights.int8 import Int8Linear, Int8Weight
from export.weights.pairs import largest_pair, limit_pairs, overflowing_pairs
from omnilmm_lite.bundle.layout import PAIR_SUM
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.formats import FP32
from quantize.gptq.gptq import proxy_loss, quantize_weight
from quantize.tower.weights import gptq_int8

CODES = st.integers(-127, 127)


def vpmaddubsw(activations: NDArray[np.uint8], codes: NDArray[np.int8]) -> NDArray[np.int64]:
    """Intel's definition: two products of neighbours, added, saturated to 16 bits. (in,) each -> (in / 2,)."""
    products = activations.astype(np.int64) * codes.astype(np.int64)
    return np.clip(products[0::2] + products[1::2], -(2**15), 2**15 - 1)


@given(CODES, CODES, st.integers(0, 255), st.integers(0, 255))
def test_limited_pairs_never_saturate_and_others_do(first: int, second: int, a: int, b: int) -> None:
    codes = torch.tensor([[first, second]], dtype=torch.int16)
    limited = limit_pairs(codes)
    exact = a * int(limited[0, 0]) + b * int(limited[0, 1])
    activations, pair = np.array([a, b], np.uint8), limited[0].to(torch.int8).numpy()
    assert vpmaddubsw(activations, pair).tolist() == [exact]
    if overflowing_pairs(codes):  # then there are activations that show it
        sign = 1 if first > 0 else -1
        assert first * second > 0 and sign * (first + second) > PAIR_SUM
        loudest = vpmaddubsw(np.full(2, 255, np.uint8), codes[0].to(torch.int8).numpy())
        assert loudest.tolist() != [255 * (first + second)]
    else:
        assert torch.equal(limited, codes)


@pytest.mark.parametrize(
    ("pair", "limited"),
    [
        ([127, 127], [127, 1]),
        ([-127, -127], [-127, -1]),
        ([64, 64], [64, 64]),
        ([65, 64], [65, 63]),
        ([127, -127], [127, -127]),  # different signs never meet in one half of the range
        ([-128, 0], [-128, 0]),
        ([-128, -1], [-128, 0]),
    ],
)
def test_by_hand(pair: list[int], limited: list[int]) -> None:
    assert limit_pairs(torch.tensor([pair], dtype=torch.int16)).tolist() == [limited]
    assert overflowing_pairs(torch.tensor([pair], dtype=torch.int8)) == (pair != limited)


def test_an_odd_last_column_has_no_neighbour() -> None:
    codes = torch.tensor([[100, 100, 127], [1, 2, -127]], dtype=torch.int16)
    assert limit_pairs(codes).tolist() == [[100, 28, 127], [1, 2, -127]]
    assert overflowing_pairs(codes.to(torch.int8)) == 1
    assert largest_pair(codes.float()).tolist() == [[200], [3]]
    one = torch.tensor([[127], [-127]], dtype=torch.int8)
    assert overflowing_pairs(one) == 0
    assert largest_pair(one.float()).tolist() == [[127], [127]]


@given(st.integers(0, 2**31 - 1), st.integers(1, 65), st.floats(-8, 8))
def test_rounding_keeps_within_the_limit_and_half_a_step(seed: int, columns: int, magnitude: float) -> None:
    weight = torch.randn(7, columns, generator=torch.Generator().manual_seed(seed)) * 10**magnitude
    rounded = Int8Weight.round(weight)
    assert overflowing_pairs(rounded.codes) == 0
    # a whole step where the scale itself was rounded down, and a pair that just fits came to be one over
    off = (rounded.dequantize() - weight).abs() / rounded.scale[:, None]
    assert off.max() <= 1.01 and (off > 0.5001).sum() <= 7


def test_pairs_cost_a_third_where_seven_bits_cost_twice() -> None:
    """The docstring's figures, for normally distributed weights as wide as the tower's."""
    weight = torch.randn(256, 1792, generator=torch.Generator().manual_seed(0))

    def lost(codes: float) -> float:
        scale = weight.abs().amax(1, keepdim=True) / codes
        return float((torch.round(weight / scale) * scale - weight).square().mean().sqrt())

    limited = float((Int8Weight.round(weight).dequantize() - weight).square().mean().sqrt())
    assert 1.25 < limited / lost(127) < 1.4
    assert 1.9 < lost(64) / lost(127) < 2.1


def hessian(columns: int) -> Tensor:
    """Of correlated inputs, some of them loud."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(300, 12, generator=generator) @ torch.randn(12, columns, generator=generator)
    x += 0.3 * torch.randn(300, columns, generator=generator)
    x[:, ::17] *= 8
    return x.T @ x / len(x)


@pytest.mark.parametrize("columns", [64, 65, 192])
@pytest.mark.parametrize("desc_act", [True, False])
def test_gptq_keeps_within_the_limit_and_makes_up_for_it(columns: int, desc_act: bool) -> None:
    weight = torch.randn(48, columns, generator=torch.Generator().manual_seed(2))
    weight[:, 1::2] = weight[:, : columns // 2 * 2 : 2]  # every pair is of one sign
    spread = hessian(columns)
    limited = quantize_weight(weight, spread, bits=8, group_size=-1, desc_act=desc_act, limit_pairs=True)
    codes = torch.from_numpy(limited.codes.astype(np.int16) - 128)
    assert overflowing_pairs(codes) == 0
    rounded = Int8Weight.round(weight).dequantize().numpy()
    assert proxy_loss(weight, limited, spread) < 0.5 * proxy_loss(weight, rounded, spread)


def test_gptq_of_the_tower_is_limited() -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(3)).abs()
    assert overflowing_pairs(gptq_int8(weight, hessian(64)).codes) == 0


def test_what_limited_pairs_are_not_for() -> None:
    with pytest.raises(InputError, match="8 bits in whole rows"):
        quantize_weight(torch.ones(4, 8), torch.eye(8), bits=4, group_size=-1, limit_pairs=True)


def test_no_graph_is_written_with_codes_that_overflow(tmp_path: Path) -> None:
    weight = Int8Weight(torch.full((4, 8), 127, dtype=torch.int8), torch.ones(4))
    with (
        GraphBuilder(tmp_path / "graph.onnx", FP32) as graph,
        pytest.raises(OmniLMMError, match="layer: 16 pairs"),
    ):
        int8_linear(graph, "x", Int8Linear(weight), "layer")
