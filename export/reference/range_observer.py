"""Runs the reference's modules and keeps the largest value of every site that a graph in fp16 has to hold.

Where a graph adds a layer's bias in a step of its own, the product without it counts as well. Modules and inputs are
wherever the caller has put them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.reference.activation_ranges import INPUT, LOGITS, RESAMPLER, STREAM, TOWER
from export.reference.model import (
    DecoderLayer,
    Resampler,
    RMSNorm,
    VisionAttention,
    VisionBlock,
    VisionTower,
    apply_rope,
)
from omnilmm_lite.errors import InputError

# What a hook is given: the module's inputs by position, and its output.
Seen = Callable[[tuple[Any, ...], Tensor], None]


class RangeObserver:
    """`largest` by site; the values may come from an earlier run."""

    def __init__(self, largest: Mapping[str, float] | None = None) -> None:
        self.largest = dict(largest or {})

    def see(self, site: str, *values: Tensor) -> None:
        """InputError where the reference itself gives NaN or infinity."""
        for value in values:
            low, high = map(float, value.aminmax())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise InputError(f"{site}: the checkpoint gives NaN or infinity there in float32: download it again")
            self.largest[site] = max(-low, high, self.largest.get(site, 0.0))

    # ---- tower and resampler ----

    def embed(self, tower: VisionTower, pixels: Tensor) -> Tensor:
        """What the first block gets: (pictures, 3, image_size, image_size) -> (pictures, tokens, hidden)."""
        bias = tower.patch_embed.proj.bias
        hooks = {"patch_embed.proj": lambda _, out: self.see(f"{TOWER}.patch_embed.proj", out, out - _channels(bias))}
        with _watched(tower, hooks):
            x = tower.embed(pixels)
        self.see(f"{TOWER}.{STREAM}", x)
        return x

    def block(self, block: VisionBlock, x: Tensor, name: str) -> Tensor:
        """(pictures, tokens, hidden) -> the same shape; `name` is the block's place in the checkpoint."""

        def qkv(_: tuple[Any, ...], out: Tensor) -> None:
            attention = block.attn
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
            self.see(f"{name}.attn.qkv", out, out + bias)
            self.see(f"{name}.attn.{LOGITS}", *_tower_logits(attention, out + bias))

        hooks: dict[str, Seen] = {
            "attn.qkv": qkv,
            "norm1": self._output(f"{name}.norm1"),
            "mlp": lambda given, _: self.see(f"{name}.attn.{STREAM}", given[0]),
            "norm2": self._output(f"{name}.norm2"),
        }
        for part in ("attn.proj", "mlp.fc1", "mlp.fc2"):
            hooks[part] = self._with_and_without_bias(f"{name}.{part}", block.get_submodule(part))
        with _watched(block, hooks):
            x = block(x)
        self.see(f"{name}.mlp.{STREAM}", x)
        return x

    def finish(self, tower: VisionTower, x: Tensor) -> Tensor:
        """What the resampler gets: (pictures, tokens, hidden) -> (pictures, patches, hidden)."""
        x = tower.finish(x)
        self.see(f"{TOWER}.norm", x)
        return x

    def resampler(self, resampler: Resampler, patches: Tensor) -> Tensor:
        """(pictures, patches, kv_dim) -> (pictures, queries, hidden)."""
        attention = resampler.attn

        def products(given: tuple[Any, ...], _: Tensor) -> None:
            weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
            q, k, v = (F.linear(x, *each) for x, *each in zip(given, weights, biases, strict=True))
            # the graph multiplies keys and values without positions and biases, and adds those
            bare = (F.linear(given[2], weight) for weight in weights[1:])
            self.see(f"{RESAMPLER}.attn.in_proj", q, k, v, *bare)
            self.see(f"{RESAMPLER}.attn.{LOGITS}", *_logits(attention.heads(q), attention.heads(k)))

        hooks: dict[str, Seen] = {name: self._output(f"{RESAMPLER}.{name}") for name in ("kv_proj", "ln_kv", "ln_post")}
        hooks["attn"] = products
        hooks["attn.out_proj"] = self._with_and_without_bias(f"{RESAMPLER}.attn.out_proj", attention.out_proj)
        with _watched(resampler, hooks):
            features: Tensor = resampler(patches)
        self.see(f"{RESAMPLER}.proj", features)
        return features

    # ---- decoder ----

    def layer(self, layer: DecoderLayer, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, name: str) -> Tensor:
        """(1, tokens, hidden) -> the same shape. Logits are also those of tokens that the mask hides: kernels multiply
        first."""
        attention = layer.self_attn
        states: dict[str, Tensor] = {}

        def projected(part: str) -> Seen:
            def hook(_: tuple[Any, ...], out: Tensor) -> None:
                self.see(f"{name}.self_attn.{part}", out)
                states[part] = attention.heads(out)

            return hook

        def logits(_: tuple[Any, ...], __: Tensor) -> None:
            q, k = (apply_rope(states.pop(part), cos, sin) for part in ("q_proj", "k_proj"))
            self.see(f"{name}.self_attn.{LOGITS}", *_logits(q, k))

        def down(given: tuple[Any, ...], out: Tensor) -> None:
            self.see(f"{name}.mlp.down_proj.{INPUT}", given[0])
            self.see(f"{name}.mlp.down_proj", out)

        hooks: dict[str, Seen] = {
            part: self._output(f"{name}.{part}")
            for part in ("input_layernorm", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj")
        }
        hooks |= {f"self_attn.{part}": projected(part) for part in ("q_proj", "k_proj", "v_proj")}
        hooks |= {"self_attn": logits, "mlp.down_proj": down}

        def attended(given: tuple[Any, ...], out: Tensor) -> None:
            self.see(f"{name}.self_attn.{STREAM}", given[0])
            self.see(f"{name}.post_attention_layernorm", out)

        hooks["post_attention_layernorm"] = attended
        with _watched(layer, hooks):
            x = layer(x, cos, sin, mask)
        self.see(f"{name}.mlp.{STREAM}", x)
        return x

    def head(self, norm: RMSNorm, lm_head: nn.Linear, x: Tensor) -> None:
        """Of (1, tokens, hidden), behind the last layer."""
        normed = norm(x)
        self.see("model.norm", normed)
        self.see("lm_head", lm_head(normed))

    def _output(self, site: str) -> Seen:
        return lambda _, out: self.see(site, out)

    def _with_and_without_bias(self, site: str, linear: nn.Module) -> Seen:
        bias = linear.get_parameter("bias")
        return lambda _, out: self.see(site, out, out - bias)


def _channels(bias: Tensor | None) -> Tensor:
    """A convolution's bias (channels,) beside its output (pictures, channels, rows, columns)."""
    return torch.zeros(()) if bias is None else bias[:, None, None]


def _tower_logits(attention: VisionAttention, qkv: Tensor) -> Iterator[Tensor]:
    """qkv (pictures, tokens, 3 * hidden), biases included."""
    q, k, _ = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return _logits(q, k)  # (pictures, heads, tokens, head_dim) each


def _logits(q: Tensor, k: Tensor) -> Iterator[Tensor]:
    """q k^T / sqrt(head_dim), one head (queries, keys) at a time: all of a full-size picture's would take 67 MB.

    q (batch, heads, queries, head_dim); k may have fewer heads, each for as many neighbouring ones of q.
    """
    group = q.shape[1] // k.shape[1]
    for queries, keys in zip(q, k, strict=True):
        for index, head in enumerate(queries):
            yield head @ keys[index // group].T / math.sqrt(q.shape[-1])


@contextmanager
def _watched(module: nn.Module, hooks: Mapping[str, Seen]) -> Iterator[None]:
    """The hooks on the submodules of these names, until the end of the block."""

    def adapted(seen: Seen) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        return lambda _, given, out: seen(given, out)

    handles = [module.get_submodule(name).register_forward_hook(adapted(seen)) for name, seen in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
