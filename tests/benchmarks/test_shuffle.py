"""Channels in another order: the same decoder, and no group of neighbours is one any more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.reference.layerwise import load_module
from export.reference.model import DecoderLayer, RMSNorm, causal_mask, rope_tables
from omnilmm_lite.keys import decoder_keys
from tests.small_checkpoint import TINY

pytest.importorskip("gguf")

from benchmarks.quantization.shuffle import shuffled
from benchmarks.quantization.smollm2 import SmolLM2

IDS = torch.tensor([[1, 500, 7, 31000, 42, 42, 9]])


def random_model() -> SmolLM2:
    """Two heads share each key head, and the MLP is wider than the stream: orders that are swapped would show."""
    rng = torch.Generator().manual_seed(0)
    shapes = dict(decoder_keys(TINY.decoder))
    tensors = {name: torch.randn(*shape, generator=rng) * 0.2 for name, shape in shapes.items()}
    tensors["model.embed_tokens.weight"] = torch.randn(shapes["lm_head.weight"], generator=rng)
    return SmolLM2(Path("nowhere"), tensors, TINY)


@torch.inference_mode()
def logits(model: SmolLM2) -> torch.Tensor:
    """(1, tokens, vocab)"""
    config = TINY.decoder
    x = model.tensor("model.embed_tokens.weight")[IDS]  # (1, tokens, hidden)
    cos, sin = rope_tables(config, torch.arange(IDS.shape[1]))
    for index in range(config.num_hidden_layers):
        layer = load_module(model, f"model.layers.{index}", lambda: DecoderLayer(config))
        x = layer(x, cos, sin, causal_mask(IDS.shape[1]))
    norm = load_module(model, "model.norm", lambda: RMSNorm(config.hidden_size, config.rms_norm_eps))
    head: torch.Tensor = norm(x) @ model.tensor("lm_head.weight").T
    return head


def test_it_computes_the_same() -> None:
    model = random_model()
    torch.testing.assert_close(logits(shuffled(model)), logits(model), rtol=1e-4, atol=1e-4)


def groups(weight: torch.Tensor) -> set[frozenset[float]]:
    """Neighbouring columns, 16 at a time; a column is known by its largest value, whatever the rows' order."""
    return {frozenset(group.tolist()) for group in weight.amax(0).split(16)}


def test_no_group_of_columns_stays_together() -> None:
    model = random_model()
    moved = shuffled(model)
    for name, tensor in model.tensors.items():
        if tensor.ndim == 2:
            assert not groups(tensor) & groups(moved.tensors[name]), name
