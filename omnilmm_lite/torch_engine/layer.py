"""One decoder layer over its part of the KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.torch_engine.products import Product

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
PRODUCTS = {name: f"{part}.{name}" for part, names in (("self_attn", ATTENTION), ("mlp", MLP)) for name in names}


@dataclass(frozen=True, eq=False)
class Pass:
    """What all layers share in one pass: the tokens' places, and which ones each may look at."""

    start: int  # tokens in the cache before
    end: int  # and behind
    cos: Tensor  # float32 (tokens, head_dim / 2)
    sin: Tensor
    mask: Tensor | None  # bool (tokens, end), True where a token may look; None: everywhere


@dataclass(frozen=True, eq=False)
class DecoderLayer:
    """`products`: by the checkpoint's names, `q_proj` and so on. Norms are float32 (hidden,)."""

    config: DecoderConfig
    products: Mapping[str, Product]
    input_norm: Tensor
    post_attention_norm: Tensor

    def run(self, x: Tensor, step: Pass, keys: Tensor, values: Tensor) -> Tensor:
        """float32 (tokens, hidden) -> the same shape. `keys` and `values` (kv heads, context, head_dim) take the
        tokens' own at their places."""
        x = x + self._attend(self._norm(x, self.input_norm), step, keys, values)
        h = self._norm(x, self.post_attention_norm)
        gate, up = self.products["gate_proj"](h), self.products["up_proj"](h)
        return x + self.products["down_proj"](F.silu(gate) * up)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _attend(self, h: Tensor, step: Pass, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = (self._heads(self.products[name](h)) for name in ATTENTION[:3])
        keys[:, step.start : step.end] = rotated(k, step)  # written in the cache's own format
        values[:, step.start : step.end] = v
        x = F.scaled_dot_product_attention(
            rotated(q, step).to(keys.dtype)[None],
            keys[None, :, : step.end],
            values[None, :, : step.end],
            attn_mask=step.mask,
            enable_gqa=True,
        )  # (1, heads, tokens, head_dim)
        return self.products["o_proj"](x[0].transpose(0, 1).flatten(1).float())

    def _heads(self, x: Tensor) -> Tensor:
        """(tokens, heads * head_dim) -> (heads, tokens, head_dim)."""
        return x.view(len(x), -1, self.config.head_dim).transpose(0, 1)


def rotated(x: Tensor, step: Pass) -> Tensor:
    """Rotary positions, by the halves of each head: (heads, tokens, head_dim), float32."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * step.cos - second * step.sin, second * step.cos + first * step.sin], dim=-1)


def causal_mask(start: int, end: int, window: int | None, device: torch.device) -> Tensor | None:
    """See `Pass.mask`. A token sees itself and those before it, no further back than `window` tokens in all."""
    if end - start == 1 and (window is None or end <= window):
        return None
    distance = torch.arange(start, end, device=device)[:, None] - torch.arange(end, device=device)
    mask = distance >= 0
    return mask if window is None else mask & (distance < window)
