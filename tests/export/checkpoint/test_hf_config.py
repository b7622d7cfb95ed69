"""config.json and the tokenizer's files -> OmniLMMConfig."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.checkpoint.hf_config import model_config, read_config
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.config import OmniLMMConfig, TokenIds
from omnilmm_lite.errors import InputError
from omnilmm_lite.keys import Shape, expected_keys
from tests.small_checkpoint import SMALL, TINY, Form, config_json, write_json

PUBLISHED = OmniLMMConfig()


def parse(folder: Path, size: OmniLMMConfig = PUBLISHED, **changes: object) -> OmniLMMConfig:
    """What config.json of `size`, with fields changed (`...` deletes one), and the tensors of `size` are read as."""
    values = config_json(size, Form.BIN) | changes
    write_json(folder / "config.json", {name: value for name, value in values.items() if value is not ...})
    return model_config(folder, read_config(folder), expected_keys(size))


def with_vision(size: OmniLMMConfig, **changes: int) -> OmniLMMConfig:
    vision = dataclasses.replace(size.vision, **changes)
    return dataclasses.replace(
        size, vision=vision, resampler=dataclasses.replace(size.resampler, kv_dim=vision.hidden_size)
    )


@pytest.mark.parametrize("size", [PUBLISHED, SMALL, TINY], ids=["published", "small", "tiny"])
def test_published_fields_give_the_whole_config(size: OmniLMMConfig, tmp_path: Path) -> None:
    assert parse(tmp_path, size) == size


def test_either_name_of_the_model_is_enough(tmp_path: Path) -> None:
    assert parse(tmp_path, model_type=...) == PUBLISHED
    assert parse(tmp_path, architectures=["RlaifV"]) == PUBLISHED


def test_rope_theta_as_transformers_5_writes_it(tmp_path: Path) -> None:
    parameters = {"rope_theta": 5e5, "rope_type": "default"}
    assert parse(tmp_path, rope_theta=..., rope_parameters=parameters).decoder.rope_theta == 5e5


def test_optional_fields(tmp_path: Path) -> None:
    assert parse(tmp_path, sliding_window=None).decoder.sliding_window is None
    assert parse(tmp_path, sliding_window=...).decoder.sliding_window == 4096
    shapes_of = dataclasses.replace(PUBLISHED, decoder=dataclasses.replace(PUBLISHED.decoder, head_dim=64))
    assert parse(tmp_path, shapes_of, head_dim=64).decoder == shapes_of.decoder


# ---- the tower ----


@pytest.mark.parametrize(
    ("hidden", "heads"),
    [(1792, 16), (448, 4), (112, 1), (256, 4), (320, 5), (64, 1), (48, 16), (176, 16)],
)
def test_heads_follow_from_the_width(hidden: int, heads: int, tmp_path: Path) -> None:
    size = with_vision(TINY if hidden != 1792 else PUBLISHED, hidden_size=hidden, num_attention_heads=heads)
    assert parse(tmp_path, size).vision == size.vision


def test_heads_that_can_not_be_told_can_be_given(tmp_path: Path) -> None:
    size = with_vision(TINY, hidden_size=90, num_attention_heads=3)
    with pytest.raises(InputError, match=r"add vision_config\.num_heads"):
        parse(tmp_path, size)
    assert parse(tmp_path, size, vision_config={"num_heads": 3}).vision == size.vision


def test_other_depths_patches_and_grids_follow_from_the_shapes(tmp_path: Path) -> None:
    size = with_vision(TINY, num_hidden_layers=5, patch_size=16, position_grid=7, intermediate_size=99)
    assert parse(tmp_path, size).vision == size.vision


def test_vision_config_goes_before_the_published_width(tmp_path: Path) -> None:
    size = with_vision(PUBLISHED, num_hidden_layers=3, num_attention_heads=14)
    assert parse(tmp_path, size).vision.num_hidden_layers == 63  # the missing blocks are then reported
    assert parse(tmp_path, size, vision_config={"depth": 3, "num_heads": 14}).vision == size.vision


def test_a_stray_block_adds_one_key_not_a_million(tmp_path: Path) -> None:
    shapes = expected_keys(TINY) | {"model.vision_tower.blocks.99999999.attn.q_bias": (112,)}
    write_json(tmp_path / "config.json", config_json(TINY, Form.BIN))
    assert model_config(tmp_path, read_config(tmp_path), shapes).vision.num_hidden_layers == 3


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("pos_embed", (1, 6, 112), "5 positions"),
        ("pos_embed", (1, 1, 112), "0 positions"),
        ("pos_embed", (5,), "of shape"),
        ("cls_token", (), "of shape"),
        ("patch_embed.proj.weight", (112, 3, 0, 0), "of shape"),
        ("patch_embed.proj.weight", (112, 3, 15, 15), "not a multiple of patches of 15"),
        ("blocks.0.mlp.fc1.weight", None, "is missing"),
    ],
)
def test_odd_towers(name: str, shape: Shape | None, reason: str, tmp_path: Path) -> None:
    shapes: dict[str, Shape | None] = {**expected_keys(TINY), f"model.vision_tower.{name}": shape}
    write_json(tmp_path / "config.json", config_json(TINY, Form.BIN))
    with pytest.raises(InputError, match=reason):
        kept = {key: value for key, value in shapes.items() if value is not None}
        model_config(tmp_path, read_config(tmp_path), kept)


# ---- faults ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "model_type 'llama'.*'LlamaForCausalLM'"),
        ({"model_type": ..., "architectures": ...}, "not an OmniLMM's"),
        ({"quantization_config": {"bits": 4}}, "quantized already"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "rope_scaling is"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters is"),
        ({"mm_use_im_start_end": False}, "mm_use_im_start_end is False"),
        ({"hidden_size": ...}, "has no hidden_size"),
        ({"num_query": ...}, "has no num_query"),
        ({"image_size": ...}, "has no image_size"),
        ({"rope_theta": ...}, "has no rope_theta"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": -4096}, "hidden_size is -4096"),
        ({"hidden_size": "4096"}, "hidden_size is '4096'"),
        ({"hidden_size": 4096.0}, "hidden_size is 4096.0"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"vocab_size": 10**30}, "vocab_size is 1000"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"num_attention_heads": 33}, "can't share|not a multiple"),
        ({"num_key_value_heads": 5}, "can't share 5 key-value heads"),
        ({"head_dim": 127}, "even head_dim"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"rope_theta": float("inf")}, "rope_theta is inf"),
        ({"num_query": 250}, "num_query is 250, not a square"),
        ({"image_size": 450}, "image_size 450 is not a multiple"),
        ({"hidden_size": 400, "num_attention_heads": 4, "num_key_value_heads": 2}, "the resampler's 3 heads"),
        ({"vision_config": [1]}, "vision_config must be an object"),
        ({"vision_config": {"num_heads": 15}}, "not a multiple of its 15 heads"),
        ({"vision_config": {"depth": 0}}, "depth is 0"),
        ({"bos_token_id": 32009}, "bos_token_id is 32009"),
        ({"eos_token_id": 32001}, "the same id"),
        ({"vocab_size": 8}, "im_patch> is -1"),
    ],
)
def test_each_fault_is_named_in_one_line(changes: Mapping[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        parse(tmp_path, **changes)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000])
def test_broken_json(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        read_config(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*config_json(TINY, Form.BIN), "head_dim", "vision_config"]), json_values))
def test_any_values_give_a_config_or_an_input_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    try:
        config = parse(tmp_path, TINY, **changes)
    except InputError as error:
        assert str(error).isprintable()
    else:
        assert build(OmniLMMConfig, json.loads(json.dumps(config.to_dict()))) == config


# ---- special tokens ----

OTHER = {"<im_patch>": 100, "<im_start>": 7, "<im_end>": 31999}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("added_tokens.json", OTHER),
        ("tokenizer_config.json", {"added_tokens_decoder": {str(i): {"content": name} for name, i in OTHER.items()}}),
        ("tokenizer.json", {"added_tokens": [{"id": i, "content": name} for name, i in OTHER.items()]}),
    ],
)
def test_image_tokens_come_from_the_tokenizers_files(file: str, content: dict[str, Any], tmp_path: Path) -> None:
    assert parse(tmp_path).tokens == TokenIds()
    write_json(tmp_path / file, content)
    assert parse(tmp_path).tokens == TokenIds(im_patch=100, im_start=7, im_end=31999)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("added_tokens.json", {"<im_patch>": 100, "<pad>": 5}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "<im_patch>"}, "3": 4}}),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}),
        ("tokenizer.json", {"added_tokens": [{"id": 3}, 4, {"content": "<im_patch>"}]}),
        ("tokenizer.json", {"added_tokens": {}}),
    ],
)
def test_files_without_all_three_are_passed_over(file: str, content: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / file, content)
    assert parse(tmp_path).tokens == TokenIds()


@pytest.mark.parametrize("wrong", ["32000", -1, 32009, 1.5, None, 32002])
def test_impossible_token_ids(wrong: object, tmp_path: Path) -> None:
    write_json(tmp_path / "added_tokens.json", {"<im_patch>": wrong, "<im_start>": 32001, "<im_end>": 32002})
    with pytest.raises(InputError, match=r"added tokens|the same id"):
        parse(tmp_path)
