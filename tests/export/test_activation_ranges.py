"""The largest numbers of the reference, site by site, against numbers worked out on paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from export.reference.activation_ranges import ActivationRanges
from export.reference.model import DecoderLayer, Resampler, VisionBlock, causal_mask, rope_tables
from export.reference.range_observer import RangeObserver, _logits
from omnilmm_lite.config import DecoderConfig, ResamplerConfig, VisionConfig
from omnilmm_lite.errors import InputError

# As narrow as they can be: one head of two numbers.
VISION = VisionConfig(hidden_size=2, intermediate_size=2, num_attention_heads=1)
RESAMPLER = ResamplerConfig(num_queries=1, hidden_size=2, kv_dim=2, num_attention_heads=1)
DECODER = DecoderConfig(
    hidden_size=2, intermediate_size=2, num_attention_heads=1, num_key_value_heads=1, head_dim=2, vocab_size=3
)


def filled(module: nn.Module, values: dict[str, Any]) -> None:
    """A number for a weight is that times the identity, for each square part of it; what isn't named is 0."""
    for name, parameter in module.named_parameters():
        value = values.get(name, 0.0)
        if isinstance(value, float) and parameter.ndim == 2:
            wanted = value * torch.eye(2).repeat(parameter.shape[0] // 2, 1)
        else:
            wanted = torch.tensor(value).expand(parameter.shape)
        parameter.data = wanted.clone()


@torch.inference_mode()
def test_a_block_of_the_tower_by_hand() -> None:
    """One token, (3, 1), which attends to itself."""
    block = VisionBlock(VISION)
    filled(
        block,
        {
            "attn.qkv.weight": 1.0,
            "attn.q_bias": [1.0, 0.0],
            "attn.v_bias": [0.0, -5.0],
            "attn.proj.weight": 10.0,
            "attn.proj.bias": [0.0, 100.0],
            "norm1.weight": [2.0, 2.0],
            "mlp.fc1.weight": 5.0,
            "mlp.fc1.bias": [-30.0, 0.0],
            "mlp.fc2.weight": 1.0,
            "mlp.fc2.bias": [0.0, -10.0],
            "norm2.weight": [1.0, 1.0],
        },
    )
    block.attn.qkv.weight[:2] *= 2
    seen = RangeObserver()
    out = seen.block(block, torch.tensor([[[3.0, 1.0]]]), "b")
    expected = {
        "b.attn.qkv": 7,  # q is (6, 2) without its bias and (7, 2) with it; k (3, 1); v (3, 1) and (3, -4)
        "b.attn.logits": (7 * 3 + 2 * 1) / math.sqrt(2),
        "b.attn.proj": 60,  # (30, -40), and (30, 60) with its bias
        "b.norm1": 2,  # 45 is the mean, 15 the deviation
        "b.attn.stream": 3,  # (3, 1) + (-2, 2)
        "b.mlp.fc1": 25,  # (5, 15), and (-25, 15)
        "b.mlp.fc2": 15,  # GELU leaves (0, 15): (0, 15) without its bias, (0, 5) with it
        "b.norm2": 1,
        "b.mlp.stream": 4,  # (1, 3) + (-1, 1)
    }
    assert seen.largest == pytest.approx(expected, rel=1e-5)
    assert out.flatten().tolist() == pytest.approx([0, 4], abs=1e-5)


@torch.inference_mode()
def test_a_decoder_layer_by_hand() -> None:
    """One token, (3, 4), at position 0, where nothing is rotated."""
    layer, size = DecoderLayer(DECODER), math.sqrt(12.5)  # (3, 4)'s root mean square
    filled(
        layer,
        {
            "input_layernorm.weight": [size, size],  # gives (3, 4) again
            "self_attn.q_proj.weight": 2.0,
            "self_attn.k_proj.weight": 1.0,
            "self_attn.v_proj.weight": 10.0,
            "self_attn.o_proj.weight": -1.0,
            "post_attention_layernorm.weight": [9 * size, 9 * size],  # gives (-27, -36) again
            "mlp.gate_proj.weight": -1.0,
            "mlp.up_proj.weight": 2.0,
            "mlp.down_proj.weight": 0.5,
        },
    )
    seen = RangeObserver()
    cos, sin = rope_tables(DECODER, torch.arange(1))
    seen.layer(layer, torch.tensor([[[3.0, 4.0]]]), cos, sin, causal_mask(1), "l")
    expected = {
        "l.input_layernorm": 4,
        "l.self_attn.q_proj": 8,
        "l.self_attn.k_proj": 4,
        "l.self_attn.v_proj": 40,
        "l.self_attn.logits": (6 * 3 + 8 * 4) / math.sqrt(2),
        "l.self_attn.o_proj": 40,
        "l.self_attn.stream": 36,
        "l.post_attention_layernorm": 36,
        "l.mlp.gate_proj": 36,
        "l.mlp.up_proj": 72,
        "l.mlp.down_proj.input": 36 * 72,  # SiLU leaves 36 as it is
        "l.mlp.down_proj": 36 * 36,
        "l.mlp.stream": 36 + 36 * 36,
    }
    assert seen.largest == pytest.approx(expected, rel=1e-5)


@torch.inference_mode()
def test_logits_behind_rotation_and_under_the_mask() -> None:
    """The first token asks (sqrt 2, 0), the second answers (10 sqrt 2, 0) to it, one position later; all else is 0."""
    layer = DecoderLayer(DECODER)
    filled(layer, {"input_layernorm.weight": [1.0, 1.0]})
    layer.self_attn.q_proj.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    layer.self_attn.k_proj.weight.data = torch.tensor([[0.0, 10.0], [0.0, 0.0]])
    seen = RangeObserver()
    cos, sin = rope_tables(DECODER, torch.arange(2))
    seen.layer(layer, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), cos, sin, causal_mask(2), "l")
    assert seen.largest["l.self_attn.logits"] == pytest.approx(20 * math.cos(1) / math.sqrt(2), rel=1e-4)


def test_query_heads_that_share_a_key_head() -> None:
    q, k = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 5, 8)
    found = torch.stack([*_logits(q, k)]).unflatten(0, (2, 4))  # (batch, heads, queries, keys)
    expected = torch.einsum("bhqd,bhkd->bhqk", q, k.repeat_interleave(2, dim=1)) / math.sqrt(8)
    torch.testing.assert_close(found, expected)


@torch.inference_mode()
def test_the_resampler_by_hand() -> None:
    """One query and one patch, (3, 1): attention takes the value as it is."""
    resampler = Resampler(RESAMPLER, grid=1)
    filled(
        resampler,
        {
            "pos_embed": [[4.0, 0.0]],
            "query": [[5.0, 1.0]],
            "kv_proj.weight": 3.0,
            "attn.in_proj_weight": 1.0,
            "attn.in_proj_bias": [0.0, 1.0, 0.0, 2.0, 0.0, -9.0],
            "attn.out_proj.weight": 2.0,
            "attn.out_proj.bias": [0.0, 30.0],
            "ln_q.weight": [1.0, 1.0],
            "ln_kv.weight": [7.0, 7.0],
            "ln_post.weight": [6.0, 6.0],
            "proj": 0.5,
        },
    )
    seen = RangeObserver()
    features = seen.resampler(resampler, torch.tensor([[[3.0, 1.0]]]))
    prefix = "model.resampler"
    expected = {
        f"{prefix}.kv_proj": 9,
        f"{prefix}.ln_kv": 7,  # (7, -7)
        f"{prefix}.attn.in_proj": 16,  # q (1, -1) + (4, 0), then (5, 0); k (11, -5); v (7, -16), bare (7, -7)
        f"{prefix}.attn.logits": 5 * 11 / math.sqrt(2),
        f"{prefix}.attn.out_proj": 32,  # (14, -32), and (14, -2)
        f"{prefix}.ln_post": 6,
        f"{prefix}.proj": 3,
    }
    assert seen.largest == pytest.approx(expected, rel=1e-5)
    assert features.flatten().tolist() == pytest.approx([3, -3], rel=1e-5)


def test_several_looks_keep_the_largest() -> None:
    seen = RangeObserver({"a": 3.0})
    seen.see("a", torch.tensor([1.0, -2.0]))
    seen.see("b", torch.tensor([1.0, -2.0]), torch.tensor([[1.5]]))
    assert seen.largest == {"a": 3.0, "b": 2.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reference_that_overflows_itself_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match=r"^lm_head: .* NaN or infinity"):
        RangeObserver().see("lm_head", torch.tensor([1.0, bad, 2.0]))


def test_ranges_as_json() -> None:
    ranges = ActivationRanges({"lm_head": 12.5}, pictures=1, sequences=2, tokens=3)
    assert ActivationRanges.from_dict(ranges.to_dict(), "f") == ranges


@pytest.mark.parametrize(
    "change",
    [
        *({"largest": value} for value in ([1.0], {"a": -1.0}, {"a": math.nan}, {"a": "1"})),
        *({"pictures": value} for value in (None, -1, True)),
    ],
)
def test_ranges_that_are_none(change: dict[str, object]) -> None:
    good = ActivationRanges({"lm_head": 12.5}, pictures=1, sequences=2, tokens=3).to_dict()
    with pytest.raises(InputError, match=r"^ranges\.json: .*remove the file$"):
        ActivationRanges.from_dict(good | change, "ranges.json")
