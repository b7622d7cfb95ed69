"""The tower's int8 numerics against paper, onnxruntime's operators, scipy's matrices and the reference tower."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from scipy.linalg import hadamard as scipy_hadamard  # type: ignore[import-untyped]
from torch import Tensor

from export.reference.model import VisionTower
from export.weights.int8 import (
    AFTER_GELU,
    GELU_MINIMUM,
    SYMMETRIC,
    Int8Linear,
    Int8Weight,
    TokenGrid,
    integer_product,
)
from export.weights.rotation import hadamard, rotate, rotate_values
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from quantize.tower.residual_divisors import residual_divisors
from quantize.tower.weights import gptq_int8, gptq_linear


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread(*shape: int) -> Tensor:
    """Tokens of very different sizes with one loud channel."""
    x = normal(*shape) * torch.logspace(-3, 3, shape[0])[:, None]
    x[:, 5] *= 100
    return x


# ---- by hand ----


def test_weights_round_to_the_channels_grid() -> None:
    weight = torch.tensor([[127.0, -63.6, 0.5, 1.5], [0.0, 0.0, 0.0, 0.0], [-31.75, 0.3, 0.1, 31.75]])
    rounded = Int8Weight.round(weight)
    assert rounded.codes.tolist() == [[127, -64, 0, 2], [0, 0, 0, 0], [-127, 1, 0, 127]]
    assert rounded.scale[[0, 2]].tolist() == [1.0, 0.25]
    assert rounded.dequantize()[2].tolist() == [-31.75, 0.25, 0.0, 31.75]


def test_a_token_is_encoded_with_its_own_scale() -> None:
    x = torch.tensor([[127.0, -127.0, 0.5, 1.5], [0.0, -254.0, 3.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    scale = SYMMETRIC.scale(x)
    assert scale[:2, 0].tolist() == [1.0, 2.0]
    # 3 / 2 and 5 / 2 are halves: to the even neighbour
    assert SYMMETRIC.encode(x, scale).tolist() == [[255, 1, 128, 130], [128, 1, 130, 130], [128] * 4]


def test_a_known_minimum_leaves_more_codes_to_the_other_side() -> None:
    grid = TokenGrid(zero_point=55, minimum=-55 / 64)
    x = torch.tensor([[200 / 32, -0.5], [1 / 64, -55 / 64]])
    scale = grid.scale(x)
    assert scale[:, 0].tolist() == [1 / 32, 1 / 64]  # the second token's own would be smaller, and lose the minimum
    assert grid.encode(x, scale).tolist() == [[255, 39], [56, 0]]


@pytest.mark.parametrize("capable", [True, False])
def test_integers_add_up_exactly_at_the_towers_width(capable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not capable:
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    steps = torch.full((1, 15360), 127, dtype=torch.int16)
    codes = torch.full((1, 15360), 127, dtype=torch.int8)
    codes[0, 7680:] = -127
    steps[0, 0], codes[0, 0] = 1, 2  # each half's sum, 7679 * 127^2 + 2, is too odd for float32; together: 2 - 127^2
    assert integer_product(steps, codes).item() == 2 - 127**2
    shifted = steps + 104  # beyond int8, as GELU's outputs are
    assert integer_product(shifted, codes).item() == 2 - 127**2 + 104 * (2 + 7679 * 127 - 7680 * 127)


def test_divisors_are_how_much_louder_than_the_median_a_channel_is() -> None:
    # channel 3: 16 and 64 times the median, 32 in the mean; channel 0: 3 times, next to 4; channel 1 is below
    loudness = torch.tensor([[3.0, 0.1, 1.0, 16.0, 1.0], [6.0, 0.2, 2.0, 128.0, 2.0]])
    assert residual_divisors(loudness).tolist() == [4.0, 1.0, 1.0, 32.0, 1.0]


# ---- against onnxruntime ----


def onnxruntime_linear(weight: Int8Weight, scale: Tensor, grid: TokenGrid, x: Tensor) -> tuple[Tensor, Tensor]:
    """The codes and the product that onnxruntime's operators compute."""
    constants = {
        "codes": weight.codes.T.contiguous().numpy(),
        "weight_scale": weight.scale.numpy(),
        "weight_zero": np.int8(0),
        "one": np.float32(1),
        "zero": np.uint8(grid.zero_point),
        "zeros": np.full(len(x), grid.zero_point, dtype=np.uint8),
    }
    inputs = ["tokens", "codes", "one", "weight_scale", "zero", "weight_zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zeros"], ["tokens"], axis=0),
        helper.make_node("MatMulIntegerToFloat", inputs, ["product"], domain="com.microsoft"),
        helper.make_node("Mul", ["product", "column"], ["y"]),
    ]
    feeds = {"x": x.numpy(), "scale": scale[:, 0].numpy(), "column": scale.numpy()}
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()],
        [
            helper.make_tensor_value_info("tokens", TensorProto.UINT8, None),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    codes, y = session.run(["tokens", "y"], feeds)
    return torch.from_numpy(codes), torch.from_numpy(y)


@pytest.mark.parametrize("grid", [SYMMETRIC, AFTER_GELU])
@pytest.mark.parametrize("width", [64, 1792, 15360])
def test_every_bit_is_onnxruntimes(width: int, grid: TokenGrid) -> None:
    x = spread(19, width) if grid is SYMMETRIC else F.gelu(spread(19, width))
    linear = Int8Linear.round(normal(24, width, seed=1), grid=grid)
    scale = grid.scale(x)
    codes, y = onnxruntime_linear(linear.weight, scale, grid, x)
    assert torch.equal(grid.encode(x, scale), codes)
    assert torch.equal(linear(x), y)


# ---- what has to hold ----


@given(st.integers(0, 2**31 - 1), st.floats(-6, 6))
def test_gelus_output_is_never_clipped(seed: int, magnitude: float) -> None:
    x = F.gelu(normal(3, 33, seed=seed) * 10**magnitude)
    scale = AFTER_GELU.scale(x)
    decoded = (AFTER_GELU.encode(x, scale).float() - AFTER_GELU.zero_point) * scale
    assert ((decoded - x).abs() <= scale * 0.5001).all()


def test_gelus_minimum() -> None:
    lowest = F.gelu(torch.linspace(-1, -0.5, 100001, dtype=torch.float64)).min().item()
    assert lowest - 1e-5 < GELU_MINIMUM <= lowest


@pytest.mark.parametrize("size", [1, 2, 64, 256])
def test_hadamard_matrix(size: int) -> None:
    matrix = hadamard(size)
    assert np.array_equal(np.sign(matrix.numpy()), scipy_hadamard(size))
    torch.testing.assert_close(matrix @ matrix, torch.eye(size))


def test_what_a_rotation_refuses() -> None:
    with pytest.raises(InputError, match="power of two, not 48"):
        hadamard(48)
    with pytest.raises(InputError, match="64 don't divide 100"):
        rotate(torch.zeros(2, 100), 64)


def test_rotated_inputs_and_weights_make_the_same_product() -> None:
    x, weight = normal(7, 192), normal(5, 192, seed=1)
    torch.testing.assert_close(rotate(x, 64) @ rotate(weight, 64).T, x @ weight.T)
    assert rotate(torch.tensor([[1.0, 0, 0, 0, 0, 2.0]]), 2)[0, [0, 1, 4, 5]].tolist() == pytest.approx(
        [0.5**0.5, 0.5**0.5, 2**0.5, -(2**0.5)]
    )


def test_rotating_values_leaves_attention_as_it_was() -> None:
    attention = torch.nn.MultiheadAttention(48, 3, batch_first=True)
    torch.nn.init.normal_(attention.in_proj_bias)
    x = normal(2, 9, 48)
    before = attention(x, x, x)[0]
    weight, bias, proj = attention.in_proj_weight.data, attention.in_proj_bias.data, attention.out_proj.weight.data
    weight[96:], bias[96:], proj[:] = rotate_values(weight[96:].clone(), bias[96:].clone(), proj.clone(), 16)
    torch.testing.assert_close(attention(x, x, x)[0], before)


def test_rotation_saves_what_a_loud_channel_spoils() -> None:
    x, weight = spread(50, 256), normal(64, 256, seed=1)
    weight[:, 5] *= 0.01
    exact = x @ weight.T

    def error(rotation: int) -> float:
        return float((Int8Linear.round(weight, rotation=rotation)(x) - exact).norm() / exact.norm())

    assert error(64) < error(1) / 3


@pytest.mark.parametrize("rotation", [1, 16])
def test_gptq_beats_rounding_on_correlated_inputs(rotation: int) -> None:
    x = normal(400, 8) @ normal(8, 64, seed=1) + 0.1 * normal(400, 64, seed=2)
    weight = normal(32, 64, seed=3)
    exact = x @ weight.T

    def error(hessian: Tensor | None) -> float:
        round_weight = Int8Linear.round if hessian is None else partial(gptq_linear, hessian=hessian)
        linear = round_weight(weight, rotation=rotation)
        rounded = rotate(x, rotation) @ linear.weight.dequantize().T  # activations as they are: weights' error alone
        return float((rounded - exact).norm())

    assert error(x.T @ x / len(x)) < 0.7 * error(None)


def test_gptq_codes_fit_int8_and_mean_the_weight() -> None:
    weight = normal(8, 64)
    rounded = gptq_int8(weight, torch.eye(64))
    assert rounded.codes.dtype == torch.int8
    assert ((rounded.dequantize() - weight).abs() <= 0.6 * rounded.scale[:, None]).all()


@torch.inference_mode()
def test_a_post_norm_tower_takes_up_divisors() -> None:
    """The folding that the docstring of quantize.tower.residual_divisors describes, on the reference tower."""
    config = VisionConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, image_size=28
    )
    tower = VisionTower(config)
    for i, parameter in enumerate(tower.parameters()):
        parameter.copy_(normal(*parameter.shape, seed=i) * 0.3)
    pixels = normal(2, 3, 28, 28)
    before = tower(pixels)

    d = residual_divisors(normal(6, 32).abs() * torch.logspace(0, 3, 32))
    assert d.max() >= 8
    tower.patch_embed.proj.weight.div_(d[:, None, None, None])
    kernel_bias = tower.patch_embed.get_parameter("proj.bias")
    for parameter in (kernel_bias, tower.cls_token, tower.pos_embed):
        parameter.div_(d)
    for block in tower.blocks:
        for norm in (block.norm1, block.norm2):
            norm.weight.div_(d)
            norm.bias.div_(d)
        block.attn.qkv.weight.mul_(d)
        block.mlp.fc1.weight.mul_(d)
    tower.norm.register_forward_pre_hook(lambda _, arguments: (arguments[0] * d,))
    torch.testing.assert_close(tower(pixels), before, rtol=1e-4, atol=1e-5)
