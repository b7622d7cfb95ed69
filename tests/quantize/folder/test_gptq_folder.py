"""GPTQ folders of others and of ours: layers quantized alike or not, in the forms that tools leave behind."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from export.checkpoint.safetensors_file import write_tensors
from export.weights.weight import QuantizedWeight
from omnilmm_lite.config import DecoderConfig, TokenIds
from omnilmm_lite.errors import InputError
from omnilmm_lite.keys import decoder_keys
from quantize.folder.packing import Layout
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import LINEARS, linear_tensors
from quantize.folder.write import write_gptq_folder
from quantize.gptq.settings import GPTQSettings
from tests.small_checkpoint import TINY

CONFIG: DecoderConfig = dataclasses.replace(TINY.decoder, vocab_size=64)  # two layers
UP, DOWN = "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"
BASE = Layout(4, 32)

Tensors = dict[str, torch.Tensor]


def random_linear(name: str, shape: tuple[int, int], layout: Layout) -> QuantizedWeight:
    generator = np.random.default_rng(sum(name.encode()))
    group_size = shape[1] if layout.group_size == -1 else layout.group_size
    groups = (shape[0], shape[1] // group_size)
    return QuantizedWeight(
        codes=generator.integers(0, 1 << layout.bits, shape, dtype=np.uint8),
        scales=generator.uniform(0.01, 0.05, groups).astype(np.float16).astype(np.float32),
        zeros=generator.integers(1, 1 << layout.bits, groups, dtype=np.uint8),
        bits=layout.bits,
        group_size=group_size,
    )


def decoder_weights(layouts: dict[str, Layout]) -> dict[str, QuantizedWeight | NDArray[np.float16]]:
    """By tensor or layer: `layouts` says what isn't quantized like the rest."""
    weights: dict[str, QuantizedWeight | NDArray[np.float16]] = {}
    for name, shape in decoder_keys(CONFIG).items():
        layer = name.removesuffix(".weight")
        if layer.endswith(LINEARS) or layer in layouts:
            weights[layer] = random_linear(layer, (shape[0], shape[1]), layouts.get(layer, BASE))
        else:
            weights[name] = np.random.default_rng(len(name)).normal(size=shape).astype(np.float16)
    return weights


def write_folder(path: Path, layouts: dict[str, Layout] | None = None, group_size: int = 32) -> Path:
    tensors: dict[str, NDArray[Any]] = {}
    for name, weight in decoder_weights(layouts or {}).items():
        tensors |= linear_tensors(name, weight) if isinstance(weight, QuantizedWeight) else {name: weight}
    shard = path / "shard.safetensors"
    write_tensors(shard, tensors)
    write_gptq_folder(path / "gptq", [shard], CONFIG, TokenIds(), GPTQSettings(group_size=group_size), {})
    return path / "gptq"


def changed(path: Path, change: Callable[[Tensors], None], **quantization: object) -> Path:
    """An ordinary folder as one file, after `change` and with other words in its quantization_config."""
    folder = write_folder(path)
    (file,) = folder.glob("*.safetensors")
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}  # Windows removes no mapped file
    change(tensors)
    file.unlink()
    (folder / "model.safetensors.index.json").unlink()
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= quantization
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def nothing(_: Tensors) -> None:
    """Leaves the tensors alone."""


def dequantized(weight: QuantizedWeight | NDArray[np.float32]) -> NDArray[np.float32]:
    return weight.dequantize() if isinstance(weight, QuantizedWeight) else weight


# ---- layers quantized otherwise than the rest ----

MIXED = {
    **{f"model.layers.0.self_attn.{part}_proj": Layout(8, 32) for part in "qkv"},
    "model.layers.0.mlp.down_proj": Layout(8, 64),
    "model.layers.1.self_attn.o_proj": Layout(4, 16),
    "lm_head": Layout(8, 32),
}


def by_vllms_rule(dynamic: dict[str, dict[str, int]], name: str) -> dict[str, int]:
    """vLLM's and gptqmodel's: the first expression that matches from the start of the name."""
    return next((value for key, value in dynamic.items() if re.match(key.removeprefix("+:"), name)), {})


def test_mixed_bits_and_groups_come_back(tmp_path: Path) -> None:
    folder = read_gptq_folder(write_folder(tmp_path, MIXED), CONFIG)
    for name, weight in decoder_weights(MIXED).items():
        if isinstance(weight, QuantizedWeight):
            found = folder.linear(name)
            assert isinstance(found, QuantizedWeight)
            assert (found.bits, found.group_size) == dataclasses.astuple(MIXED.get(name, BASE)), name
            np.testing.assert_array_equal(found.dequantize(), weight.dequantize())
        else:
            np.testing.assert_array_equal(folder.array(name), weight)


def test_what_differs_is_written_for_other_readers(tmp_path: Path) -> None:
    config = json.loads((write_folder(tmp_path, MIXED) / "config.json").read_text())["quantization_config"]
    assert config["lm_head"] is True
    layers = [name for name, weight in decoder_weights(MIXED).items() if isinstance(weight, QuantizedWeight)]
    for name in layers:
        bits, group_size = dataclasses.astuple(MIXED.get(name, BASE))
        override = by_vllms_rule(config["dynamic"], name)
        assert (override.get("bits", 4), override.get("group_size", 32)) == (bits, group_size), name
    product = by_vllms_rule(config["dynamic"], "model.layers.0.self_attn.qkv_proj")  # vLLM makes one layer of three
    assert product == {"bits": 8, "group_size": 32}
    assert not by_vllms_rule(config["dynamic"], "model.layers.10.self_attn.q_proj")


@pytest.mark.parametrize("group_size", [32, -1])
def test_nothing_differs_where_all_are_alike(tmp_path: Path, group_size: int) -> None:
    alike = {name: Layout(4, group_size) for name in decoder_weights({}) if name.endswith(LINEARS)}
    folder = write_folder(tmp_path, alike, group_size)
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert "dynamic" not in config
    assert config["lm_head"] is False
    weight = read_gptq_folder(folder, CONFIG).linear(DOWN)
    np.testing.assert_array_equal(
        dequantized(weight), random_linear(DOWN, (128, 256), Layout(4, group_size)).dequantize()
    )
    assert isinstance(weight, QuantizedWeight)
    assert weight.group_size == (32 if group_size == 32 else 256)


def test_a_layer_left_plain_stays_plain(tmp_path: Path) -> None:
    plain = torch.randn(128, 256).bfloat16()

    def left(tensors: Tensors) -> None:
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            del tensors[f"{DOWN}.{part}"]
        tensors[f"{DOWN}.weight"] = plain

    folder = read_gptq_folder(changed(tmp_path, left, dynamic={r"-:.*\.1\.mlp\.down_proj": {}}), CONFIG)
    np.testing.assert_array_equal(folder.linear(DOWN), plain.float().numpy())


def test_the_tokenizer_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    write_tensors(tmp_path / "shard.safetensors", {})
    shards, tokenizer = [tmp_path / "shard.safetensors"], [tmp_path / "tokenizer.json"]
    write_gptq_folder(tmp_path / "gptq", shards, CONFIG, TokenIds(), GPTQSettings(), {}, tokenizer)
    assert (tmp_path / "gptq" / "tokenizer.json").read_text() == "{}"


# ---- act-order without static groups ----


def scatter(tensors: Tensors, name: str) -> None:
    """Gives every input another group, as act-order does, and leaves the codes."""
    g_idx = tensors[f"{name}.g_idx"]
    tensors[f"{name}.g_idx"] = g_idx[torch.randperm(len(g_idx), generator=torch.Generator().manual_seed(1))]


def test_scattered_groups_of_a_down_projection_are_folded(tmp_path: Path) -> None:
    """The MLP computes what it computed, though no weight has a table of groups any more."""
    g_idx = np.zeros(256, dtype=np.int32)

    def scattered(tensors: Tensors) -> None:
        scatter(tensors, DOWN)
        g_idx[:] = tensors[f"{DOWN}.g_idx"].numpy()

    folder = read_gptq_folder(changed(tmp_path, scattered), CONFIG)
    down = random_linear(DOWN, (128, 256), BASE)
    dense = (down.codes.astype(np.float32) - down.zeros[:, g_idx]) * down.scales[:, g_idx]
    gate, up = (
        random_linear(f"model.layers.1.mlp.{part}_proj", (256, 128), BASE).dequantize() for part in ("gate", "up")
    )
    x = np.random.default_rng(0).normal(size=(5, 128)).astype(np.float32)
    expected = (np.tanh(x @ gate.T) * (x @ up.T)) @ dense.T
    new_gate, new_up, new_down = (
        dequantized(folder.linear(f"model.layers.1.mlp.{part}_proj")) for part in ("gate", "up", "down")
    )
    assert not np.array_equal(new_gate, gate)
    np.testing.assert_allclose((np.tanh(x @ new_gate.T) * (x @ new_up.T)) @ new_down.T, expected, rtol=1e-4, atol=1e-4)
    other = "model.layers.0.mlp.gate_proj"
    np.testing.assert_array_equal(
        dequantized(folder.linear(other)), random_linear(other, (256, 128), BASE).dequantize()
    )


@pytest.mark.parametrize("part", ["self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj"])
def test_scattered_groups_elsewhere_are_refused(tmp_path: Path, part: str) -> None:
    name = f"model.layers.1.{part}"
    with pytest.raises(InputError, match=rf"{re.escape(name)}: desc_act=true scattered .*static_groups=true"):
        read_gptq_folder(changed(tmp_path, lambda tensors: scatter(tensors, name)), CONFIG)


# ---- forms of other tools ----


def test_a_folder_of_autogptq(tmp_path: Path) -> None:
    """Its file is named after the bits, and the configuration stands apart and names no method."""
    folder = changed(tmp_path, nothing)
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    keys = {"bits": 4, "group_size": 32, "damp_percent": 0.01, "desc_act": False, "sym": False, "true_sequential": True}
    (folder / "quantize_config.json").write_text(json.dumps(keys))
    (folder / "model.safetensors").rename(folder / "gptq_model-4bit-32g.safetensors")
    weight = read_gptq_folder(folder, CONFIG).linear(UP)
    np.testing.assert_array_equal(dequantized(weight), random_linear(UP, (256, 128), BASE).dequantize())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_scales_and_plain_tensors_in_other_formats(tmp_path: Path, dtype: torch.dtype) -> None:
    def convert(tensors: Tensors) -> None:
        tensors[f"{UP}.scales"] = tensors[f"{UP}.scales"].bfloat16().to(dtype)
        tensors["model.norm.weight"] = tensors["model.norm.weight"].to(dtype)

    folder = read_gptq_folder(changed(tmp_path, convert), CONFIG)
    original = random_linear(UP, (256, 128), BASE)
    rounded = torch.from_numpy(original.scales).bfloat16().float().numpy()
    expected = dataclasses.replace(original, scales=rounded).dequantize()
    np.testing.assert_array_equal(dequantized(folder.linear(UP)), expected)
    assert folder.array("model.norm.weight").dtype == np.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6, 1e-4])
def test_scales_beyond_fp16(tmp_path: Path, value: float) -> None:
    """0.0001 is none of them."""

    def set_one(tensors: Tensors) -> None:
        tensors[f"{UP}.scales"] = tensors[f"{UP}.scales"].float()
        tensors[f"{UP}.scales"][1, 2] = value

    folder = read_gptq_folder(changed(tmp_path, set_one), CONFIG)
    if value == 1e-4:
        folder.linear(UP)
        return
    with pytest.raises(InputError, match=rf"{re.escape(UP)}: its scales are NaN or beyond fp16"):
        folder.linear(UP)


def drop_packed(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.endswith("qweight")]:
        layer = name.removesuffix(".qweight")
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            del tensors[f"{layer}.{part}"]
        tensors[f"{layer}.weight"] = torch.zeros(decoder_keys(CONFIG)[f"{layer}.weight"])


def repack(tensors: Tensors) -> None:
    tensors[f"{UP}.qweight"] = tensors[f"{UP}.qweight"].view(torch.int16)


def three_bits(tensors: Tensors) -> None:
    tensors[f"{UP}.qweight"] = tensors[f"{UP}.qweight"][:12]
    tensors[f"{UP}.qzeros"] = tensors[f"{UP}.qzeros"][:, :24].contiguous()


def add_bias(tensors: Tensors) -> None:
    tensors[f"{UP}.bias"] = torch.zeros(256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_packed, "none of its layers is quantized"),
        (repack, rf"{re.escape(UP)}\.qweight is I16; pack_dtype int32"),
        (three_bits, rf"{re.escape(UP)}: it is quantized to 3 bits"),
        (add_bias, rf"holds unexpected 1 tensors of this decoder: {re.escape(UP)}\.bias"),
    ],
)
def test_refusals(tmp_path: Path, change: Callable[[Tensors], None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_gptq_folder(changed(tmp_path, change), CONFIG)


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a LoRA adapter"):
        read_gptq_folder(changed(tmp_path, nothing, adapter={"name": "lora", "rank": 8}), CONFIG)


def test_parts_of_one_product_must_be_alike(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.k_proj"
    with pytest.raises(InputError, match=rf"{re.escape(name)}, .* are one product: quantize them"):
        read_gptq_folder(write_folder(tmp_path, {name: Layout(8, 32)}), CONFIG)
