"""GPTQ folders that gptqmodel 7.7.0 made (benchmarks/interop/samples.py), against the logits it computes from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.reference.model import DecoderLayer, RMSNorm, causal_mask, rope_tables
from export.weights.weight import QuantizedWeight
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from quantize.folder.packing import ZeroFormat
from quantize.folder.read import GPTQFolder, read_gptq_folder
from tests.paths import ROOT

GOLDEN = ROOT / "tests" / "golden" / "gptqmodel"
CONFIG = DecoderConfig(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    rms_norm_eps=1e-5,
)
LAYER = "model.layers.0"


def dense(folder: GPTQFolder, name: str) -> torch.Tensor:
    if not name.endswith("_proj.weight"):
        return torch.from_numpy(folder.array(name))
    weight = folder.linear(name.removesuffix(".weight"))
    return torch.from_numpy(weight.dequantize() if isinstance(weight, QuantizedWeight) else weight)


@torch.inference_mode()
def logits(folder: GPTQFolder, ids: torch.Tensor) -> torch.Tensor:
    """The reference decoder with the folder's weights: (1, tokens) -> (1, tokens, vocab)."""
    layer, norm = DecoderLayer(CONFIG), RMSNorm(CONFIG.hidden_size, CONFIG.rms_norm_eps)
    layer.load_state_dict({name: dense(folder, f"{LAYER}.{name}") for name in layer.state_dict()})
    norm.load_state_dict({"weight": dense(folder, "model.norm.weight")})
    x = torch.nn.functional.embedding(ids, dense(folder, "model.embed_tokens.weight"))
    cos, sin = rope_tables(CONFIG, torch.arange(ids.shape[1]))
    result: torch.Tensor = norm(layer(x, cos, sin, causal_mask(ids.shape[1]))) @ dense(folder, "lm_head.weight").T
    return result


@pytest.mark.parametrize("sample", ["aware", "second-format", "scattered"])
def test_the_same_logits_as_gptqmodel(sample: str) -> None:
    folder, expected = read_gptq_folder(GOLDEN / sample, CONFIG), np.load(GOLDEN / sample / "expected.npz")
    found = logits(folder, torch.from_numpy(expected["ids"]))
    np.testing.assert_allclose(found, expected["logits"], atol=1e-4 * np.abs(expected["logits"]).max())
    assert folder.zero_format is (ZeroFormat.V2 if sample == "second-format" else ZeroFormat.V1)


def test_what_makes_the_samples_hard() -> None:
    """Columns out of order, layers unlike the rest, and zero points of 0, which borrow from their neighbours."""
    scattered = read_gptq_folder(GOLDEN / "scattered", CONFIG)
    assert list(scattered.input_orders) == [f"{LAYER}.mlp.down_proj"]
    assert (scattered.layouts[f"{LAYER}.mlp.up_proj"].bits, scattered.layouts[f"{LAYER}.mlp.up_proj"].group_size) == (
        8,
        16,
    )
    gate = read_gptq_folder(GOLDEN / "aware", CONFIG).linear(f"{LAYER}.mlp.gate_proj")
    assert isinstance(gate, QuantizedWeight)
    assert (gate.zeros[0] == 0).all()


def test_a_whole_folder_of_scattered_groups_is_refused(tmp_path: Path) -> None:
    """With the group table that gptqmodel gives a down projection; its q_proj gets one like it by desc_act=true."""
    tensors = load_file(GOLDEN / "scattered" / "model.safetensors")
    scattered = tensors[f"{LAYER}.mlp.down_proj.g_idx"]
    tensors[f"{LAYER}.self_attn.q_proj.g_idx"] = scattered[scattered < 2].contiguous()
    shutil.copy(GOLDEN / "scattered" / "config.json", tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"]["desc_act"] is False
    with pytest.raises(InputError, match=r"q_proj: desc_act=true scattered"):
        read_gptq_folder(tmp_path, CONFIG)
