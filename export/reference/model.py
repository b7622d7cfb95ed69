"""OmniLMM in plain torch, readable top to bottom: what the graphs, GPTQ and the tests are held against.

Module and parameter names are the checkpoint's own, so `load_state_dict` takes it as it stands.
Sources: OpenBMB/MiniCPM-V, folder omnilmm/ (model, resampler, chat), timm `eva.py` (the tower), transformers
`modeling_mistral.py` (the decoder). Batch sizes and token counts are free.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, ResamplerConfig, VisionConfig


def resample_grid(table: Tensor, side: int, *, antialias: bool) -> Tensor:
    """Bicubic resampling of a square position table, in fp32: (old * old, width) -> (side * side, width)."""
    old = round(table.shape[0] ** 0.5)
    if old == side:
        return table
    grid = table.float().reshape(1, old, old, -1).permute(0, 3, 1, 2)  # (1, width, old, old)
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False, antialias=antialias)
    return grid.permute(0, 2, 3, 1).reshape(side * side, -1).to(table.dtype)


# ---- vision tower: timm eva02_enormous_patch14_clip_224 without its last block ----


class PatchEmbed(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)  # (batch, patches, hidden)


class VisionAttention(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.hidden_size))
        self.v_bias = nn.Parameter(torch.zeros(config.hidden_size))
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.attend(x))

    def attend(self, x: Tensor) -> Tensor:
        """The heads' outputs side by side, before `proj`: (batch, tokens, hidden) -> the same shape."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])  # keys have no bias
        qkv = (self.qkv(x) + bias).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, head_dim)
        x = F.scaled_dot_product_attention(q, k, v)
        return x.transpose(1, 2).flatten(2)


class VisionMlp(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activate(x))

    def activate(self, x: Tensor) -> Tensor:
        """The activations before `fc2`: (batch, tokens, hidden) -> (batch, tokens, intermediate)."""
        return F.gelu(self.fc1(x))  # the exact, erf GELU


class VisionBlock(nn.Module):
    """Residual post-norm: the branch is normalised, the residual stream never is."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attn = VisionAttention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMlp(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm1(self.attn(x))
        return x + self.norm2(self.mlp(x))


class VisionTower(nn.Module):
    blocks: Iterable[VisionBlock]  # a ModuleList here; loaded one at a time where memory is short

    def __init__(self, config: VisionConfig, blocks: Iterable[VisionBlock] | None = None) -> None:
        super().__init__()
        self.grid = config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.position_grid**2 + 1, config.hidden_size))
        self.patch_embed = PatchEmbed(config)
        own = (VisionBlock(config) for _ in range(config.num_hidden_layers))
        self.blocks = cast(Iterable[VisionBlock], nn.ModuleList(own)) if blocks is None else blocks
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def positions(self) -> Tensor:
        """The position table at this picture size, CLS first: (1, 1 + patches, hidden)."""
        cls, table = self.pos_embed[:, :1], self.pos_embed[0, 1:]
        return torch.cat([cls, resample_grid(table, self.grid, antialias=True)[None]], dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, image_size, image_size) -> (batch, patches, hidden), the CLS token dropped."""
        x = self.embed(pixels)
        for block in self.blocks:
            x = block(x)
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        """(batch, 1 + patches, hidden) -> (batch, patches, hidden), what the resampler gets."""
        return self.norm(x)[:, 1:]

    def embed(self, pixels: Tensor) -> Tensor:
        """(batch, 3, image_size, image_size) -> (batch, 1 + patches, hidden), what the first block gets."""
        x = self.patch_embed(pixels)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.positions()


# ---- perceiver resampler ----


class ResamplerAttention(nn.Module):
    """torch's MultiheadAttention written out, with its parameter names."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        width = config.hidden_size
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (batch, heads, tokens, head_dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            self.heads(F.linear(x, weight, bias))
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(x.transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    def __init__(self, config: ResamplerConfig, grid: int) -> None:
        """`grid`: patches along one side of the tower's output."""
        super().__init__()
        width = config.hidden_size
        self.grid = grid
        self.pos_embed = nn.Parameter(torch.zeros(config.num_queries, width))
        self.query = nn.Parameter(torch.randn(config.num_queries, width) * 0.02)
        self.kv_proj = nn.Linear(config.kv_dim, width, bias=False)
        self.attn = ResamplerAttention(config)
        self.ln_q = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.ln_kv = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.ln_post = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.proj = nn.Parameter(torch.randn(width, width) * width**-0.5)

    def key_positions(self) -> Tensor:
        """The stored query positions stretched over the patches: (patches, hidden)."""
        return resample_grid(self.pos_embed, self.grid, antialias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """(batch, patches, kv_dim) -> (batch, queries, hidden)."""
        kv = self.ln_kv(self.kv_proj(patches))
        query = (self.ln_q(self.query) + self.pos_embed).expand(len(patches), -1, -1)
        x = self.attn(query, kv + self.key_positions(), kv)  # values carry no positions
        return self.ln_post(x) @ self.proj


# ---- decoder: Mistral ----


def rope_tables(config: DecoderConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles, fp32: each positions.shape + (head_dim / 2,).

    Computed by numpy in float64. torch's own cos and sin can be wrong by 1e-4 the first time that a process calls them
    from several threads (pytorch issue 188792), and these tables go into the graph.
    """
    exponents = np.arange(0, config.head_dim, 2) / config.head_dim
    angles = positions.cpu().double().numpy()[..., None] / config.rope_theta**exponents
    cos, sin = (torch.from_numpy(part(angles)).float().to(positions.device) for part in (np.cos, np.sin))
    return cos, sin


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the halves of every head (not interleaved pairs): x (batch, heads, tokens, head_dim)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def causal_mask(tokens: int, sliding_window: int | None = None, device: torch.device | None = None) -> Tensor:
    """True where a token (row) may look: (tokens, tokens)."""
    places = torch.arange(tokens, device=device)
    distance = places[:, None] - places
    mask = distance >= 0
    return mask if sliding_window is None else mask & (distance < sliding_window)


class RMSNorm(nn.Module):
    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class KVCache:
    """One layer's keys (rotated) and values of the tokens so far: (batch, kv heads, tokens, head_dim) each."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends the new tokens' keys and values; returns those of all tokens so far."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.q_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.kv_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.kv_dim, bias=False)
        self.o_proj = nn.Linear(config.q_dim, config.hidden_size, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, tokens, head_dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: KVCache | None = None) -> Tensor:
        return self.o_proj(self.attend(x, cos, sin, mask, cache))

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: KVCache | None = None) -> Tensor:
        """The heads' outputs side by side, before `o_proj`: (batch, tokens, hidden) -> (batch, tokens, q_dim)."""
        q = apply_rope(self.heads(self.q_proj(x)), cos, sin)
        k = apply_rope(self.heads(self.k_proj(x)), cos, sin)
        v = self.heads(self.v_proj(x))
        if cache is not None:
            k, v = cache.extend(k, v)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return x.transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activate(x))

    def activate(self, x: Tensor) -> Tensor:
        """The activations before `down_proj`: (batch, tokens, hidden) -> (batch, tokens, intermediate)."""
        return F.silu(self.gate_proj(x)) * self.up_proj(x)


class DecoderLayer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: KVCache | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


# ---- the whole ----


class Body(nn.Module):
    """What the checkpoint keeps under `model.`."""

    layers: Iterable[DecoderLayer]

    def __init__(
        self,
        config: OmniLMMConfig,
        blocks: Iterable[VisionBlock] | None = None,
        layers: Iterable[DecoderLayer] | None = None,
    ) -> None:
        super().__init__()
        decoder = config.decoder
        self.embed_tokens = nn.Embedding(decoder.vocab_size, decoder.hidden_size)
        own = (DecoderLayer(decoder) for _ in range(decoder.num_hidden_layers))
        self.layers = cast(Iterable[DecoderLayer], nn.ModuleList(own)) if layers is None else layers
        self.norm = RMSNorm(decoder.hidden_size, decoder.rms_norm_eps)
        self.vision_tower = VisionTower(config.vision, blocks)
        self.resampler = Resampler(config.resampler, config.vision.grid)


class OmniLMM(nn.Module):
    """The model. `blocks` and `layers` may be any iterables of modules, such as ones that load as they go."""

    def __init__(
        self,
        config: OmniLMMConfig,
        blocks: Iterable[VisionBlock] | None = None,
        layers: Iterable[DecoderLayer] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config, blocks, layers)
        self.lm_head = nn.Linear(config.decoder.hidden_size, config.decoder.vocab_size, bias=False)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(batch, 3, image_size, image_size), normalised -> (batch, queries, hidden)."""
        return self.model.resampler(self.model.vision_tower(pixels))

    def embed(self, ids: Tensor, features: Tensor | None = None) -> Tensor:
        """Token embeddings, the image's in place of `<im_patch>`: (batch, tokens) -> (batch, tokens, hidden).

        `features` (batch, queries, hidden) fill each row's `<im_patch>` positions in order; without them the
        patches keep their own embedding.
        """
        embeddings = self.model.embed_tokens(ids)
        if features is None:
            return embeddings
        where = (ids == self.config.tokens.im_patch)[..., None]
        return embeddings.masked_scatter(where, features.to(embeddings.dtype))

    def hidden_states(self, embeddings: Tensor, positions: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The decoder without its head: (batch, tokens, hidden) -> the same shape, after the last norm.

        `positions` (batch, tokens) default to 0, 1, ...; `mask` (bool, True = visible, broadcast to (batch, heads,
        tokens, tokens)) to causal with the sliding window.
        """
        tokens = embeddings.shape[1]
        if positions is None:
            positions = torch.arange(tokens, device=embeddings.device)[None]
        if mask is None:
            mask = causal_mask(tokens, self.config.decoder.sliding_window, embeddings.device)
        cos, sin = (table[:, None] for table in rope_tables(self.config.decoder, positions))  # (batch, 1, tokens, ...)
        x = embeddings
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)

    def forward(self, ids: Tensor, features: Tensor | None = None) -> Tensor:
        """Teacher-forced logits: (batch, tokens) -> (batch, tokens, vocab)."""
        return self.lm_head(self.hidden_states(self.embed(ids, features)))

    @torch.inference_mode()
    def chat(self, ids: list[int], pixels: Tensor | None = None, max_new_tokens: int = 64) -> list[int]:
        """Greedy continuation of a prompt, without the end token; recomputes everything at each step."""
        features = None if pixels is None else self.encode_image(pixels)
        answer: list[int] = []
        while len(answer) < max_new_tokens:
            logits = self(torch.tensor([ids + answer], device=self.lm_head.weight.device), features)
            token = int(logits[0, -1].argmax())
            if token == self.config.tokens.eos:
                break
            answer.append(token)
        return answer
