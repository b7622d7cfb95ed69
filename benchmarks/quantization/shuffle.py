"""The same decoder with its channels in another order, so that no group of neighbours shares a grid any more.

SmolLM2's weights stand on grids of groups of 32 (see `smollm2`), which groups of 32 would partly find again. Moving the
channels of the residual stream, of each head's values and of each MLP changes nothing about what the model computes:
whoever writes a channel writes it in its new place, and whoever reads it reads it there.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from benchmarks.quantization.smollm2 import SmolLM2


def shuffled(model: SmolLM2, seed: int = 0) -> SmolLM2:
    """The model with random orders of channels, from `seed`; it gives the same logits, to within rounding."""
    config, tensors = model.config.decoder, dict(model.tensors)
    rng = torch.Generator().manual_seed(seed)
    stream = torch.randperm(config.hidden_size, generator=rng)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:, stream]
    tensors["model.norm.weight"] = tensors["model.norm.weight"][stream]
    for index in range(config.num_hidden_layers):
        layer = f"model.layers.{index}"
        mlp = torch.randperm(config.intermediate_size, generator=rng)
        # each key head's own channels: (num_key_value_heads, head_dim), as rows of v_proj
        heads = [torch.randperm(config.head_dim, generator=rng) for _ in range(config.num_key_value_heads)]
        for part in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{part}.weight"] = tensors[f"{layer}.{part}.weight"][stream]
        for part, rows, columns in (
            ("self_attn.q_proj", None, stream),
            ("self_attn.k_proj", None, stream),
            ("self_attn.v_proj", _channels(heads, 1), stream),
            ("self_attn.o_proj", stream, _channels(heads, config.num_attention_heads // len(heads))),
            ("mlp.gate_proj", mlp, stream),
            ("mlp.up_proj", mlp, stream),
            ("mlp.down_proj", stream, mlp),
        ):
            weight = tensors[f"{layer}.{part}.weight"]
            weight = weight if rows is None else weight[rows]
            tensors[f"{layer}.{part}.weight"] = weight[:, columns].contiguous()
    return dataclasses.replace(model, tensors=tensors)


def _channels(heads: list[Tensor], shared_by: int) -> Tensor:
    """Every head's channels, one head behind the other; each order serves as many heads as share its values."""
    size = len(heads[0])
    orders = [order for order in heads for _ in range(shared_by)]
    return torch.cat([index * size + order for index, order in enumerate(orders)])
