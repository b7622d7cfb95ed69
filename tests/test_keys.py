"""The table of expected tensors, at the published size and against the reference model."""

from __future__ import annotations

import math

import pytest
import torch

from export.reference.model import OmniLMM
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.keys import (
    Shape,
    decoder_keys,
    expected_keys,
    is_harmless_extra,
    key_mismatch,
    resampler_keys,
    vision_keys,
)
from tests.small_checkpoint import SMALL, TINY, tensor_shapes

PUBLISHED = OmniLMMConfig()


def parameters(keys: dict[str, Shape]) -> int:
    return sum(math.prod(shape) for shape in keys.values())


def test_published_size_is_the_published_files() -> None:
    keys = expected_keys(PUBLISHED)
    assert len(keys) == 1130
    assert parameters(keys) == 11_615_965_952  # 23,231,931,904 bytes in bf16
    assert parameters(decoder_keys(PUBLISHED.decoder)) == 7_241_805_824
    assert parameters(vision_keys(PUBLISHED.vision)) == 4_280_795_904
    assert parameters(resampler_keys(PUBLISHED.resampler)) == 93_364_224


@pytest.mark.parametrize("config", [PUBLISHED, SMALL, TINY], ids=["published", "small", "tiny"])
def test_keys_are_the_reference_models_and_the_test_writers(config: OmniLMMConfig) -> None:
    with torch.device("meta"):
        model = OmniLMM(config)
    keys = expected_keys(config)
    assert keys == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert keys == dict(tensor_shapes(config))


def test_mismatch_names_three_at_most_and_the_counts() -> None:
    expected: dict[str, Shape] = {f"a{index}": (2,) for index in range(25)}
    found: dict[str, Shape] = {"a0": (3,), "a1": (2,), "stranger\n": (1,)}
    text = key_mismatch(found, expected)
    assert text is not None and text.isprintable()
    assert "23 missing (a2 and 22 more)" in text
    assert r"1 unexpected (stranger\n)" in text
    assert "1 wrongly shaped (a0 is [3], expected [2])" in text
    assert key_mismatch(expected, expected) is None


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("model.layers.3.self_attn.rotary_emb.inv_freq", True),
        ("model.rotary_emb.inv_freq", True),
        ("model.vision_tower.blocks.62.attn.k_bias", True),
        ("model.vision_tower.head.weight", True),
        ("model.vision_tower.blocks.63.attn.q_bias", False),  # the published tower has no block 63
        ("model.vision_tower.rope.freqs", False),  # another tower
        ("model.layers.3.self_attn.q_proj.bias", False),
    ],
)
def test_harmless_extras(name: str, harmless: bool) -> None:
    assert is_harmless_extra(name) is harmless
