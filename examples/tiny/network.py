"""tiny's shape, its start, and the packed forward pass that training uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.tiny.dataset.scene import GROUNDS, SHAPE_COLORS, SHAPES
from examples.tiny.packing import IGNORE, Packer, Rows
from examples.tiny.tokenizer import ADDED, VOCABULARY
from examples.tiny.tower import VISION, sincos_positions
from export.reference.model import OmniLMM, apply_rope, causal_mask, rope_tables
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, ResamplerConfig, TokenIds

GLOBAL_QUERIES = 4  # of 16, in what WordHead asks of them

CONFIG = OmniLMMConfig(
    vision=VISION,
    resampler=ResamplerConfig(num_queries=16, hidden_size=256, kv_dim=VISION.hidden_size, num_attention_heads=2),
    decoder=DecoderConfig(
        vocab_size=VOCABULARY + len(ADDED),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
    ),
    tokens=TokenIds(im_patch=VOCABULARY, im_start=VOCABULARY + 1, im_end=VOCABULARY + 2),
)


class WordHead(nn.Module):
    """Teaches the resampler, in training only, to answer in the words' own embeddings; it has no weights.

    A feature's dot product with a word's embedding is that word's logit. Naming is then copying and comparing
    is matching, which a small decoder learns for all words at once; from its own loss alone it takes far longer.
    """

    def __init__(self, packer: Packer, emoji: Sequence[str]) -> None:
        super().__init__()
        self.emoji = len(emoji)
        self.names = [packer.encode(name) for name in (*emoji, *SHAPES, "no")]  # each word's pieces, with its space
        self.colors = [packer.encode(color) for color in SHAPE_COLORS]
        self.grounds = [packer.encode("light" if ground == "easy" else ground) for ground in GROUNDS]

    def forward(
        self, features: Tensor, embeddings: Tensor, whole: Tensor, ninths: Tensor, grounds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features (batch, queries, hidden), the embedding table, classes (batch,) and (batch, 9), grounds (batch,).

        The mean of the first queries names the only thing, the next nine what stands in each ninth of the picture
        ("no" for nothing), the rest the background. Returns the loss and the first's top-1.
        """
        first, places = GLOBAL_QUERIES, GLOBAL_QUERIES + 9
        loss, right = self._thing(features[:, :first].mean(1), embeddings, whole)
        ninth, _ = self._thing(features[:, first:places].flatten(0, 1), embeddings, ninths.flatten())
        ground = features[:, places:].mean(1) @ self._table(self.grounds, embeddings).T  # (batch, grounds)
        return loss + ninth + 0.5 * F.cross_entropy(ground, grounds), right

    def _thing(self, features: Tensor, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Features (count, hidden), classes (count,) -> loss over name and colour, top-1 of the names."""
        words = labels - 1
        shape = words - self.emoji
        name = torch.where(shape < 0, words, self.emoji + shape // len(SHAPE_COLORS))
        name = torch.where(labels == 0, len(self.names) - 1, torch.where(labels == IGNORE, IGNORE, name))
        color = torch.where((labels == IGNORE) | (shape < 0), IGNORE, shape % len(SHAPE_COLORS))
        weight = torch.ones(len(self.names))
        weight[-1] = 0.3  # most ninths are empty
        logits = features @ self._table(self.names, embeddings).T  # (count, names)
        loss = F.cross_entropy(logits, name, weight, ignore_index=IGNORE)
        if (color != IGNORE).any():
            logits_of_color = features @ self._table(self.colors, embeddings).T
            loss = loss + F.cross_entropy(logits_of_color, color, ignore_index=IGNORE)
        return loss, (logits.argmax(-1) == name)[name != IGNORE].float().mean()

    @staticmethod
    def _table(words: list[list[int]], embeddings: Tensor) -> Tensor:
        """(words, hidden): the mean of each word's pieces."""
        return torch.stack([embeddings[pieces].mean(0) for pieces in words])


def new_model() -> OmniLMM:
    """Random weights of the sizes that a small decoder starts well from."""
    model = OmniLMM(CONFIG)
    decoder = CONFIG.decoder
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and "vision_tower" not in name:
                nn.init.normal_(module.weight, std=0.04)
                if name.endswith(("o_proj", "down_proj")):
                    module.weight /= (2 * decoder.num_hidden_layers) ** 0.5
        nn.init.normal_(model.model.embed_tokens.weight, std=0.1)
        nn.init.normal_(model.lm_head.weight, std=0.02)
        resampler = model.model.resampler
        resampler.pos_embed.copy_(sincos_positions(CONFIG.resampler.grid, CONFIG.resampler.hidden_size))
        nn.init.normal_(resampler.query, std=1.0)
        resampler.attn.in_proj_weight[: 2 * CONFIG.resampler.hidden_size] *= 2  # queries that look at different places
        resampler.proj.mul_(0.25)
    return model


def packed_hidden_states(model: OmniLMM, packer: Packer, features: Tensor, rows: Rows) -> Tensor:
    """Last hidden states: features (batch, queries, hidden) and rows -> (batch, length, hidden).

    The constant prefix is computed once, at batch 1; its keys and values are shared by every row.
    """
    x = model.embed(rows.ids, features)
    constant = model.model.embed_tokens(torch.tensor([packer.prefix]))  # (1, prefix, hidden)
    size = constant.shape[1]
    cos, sin = (table[:, None] for table in rope_tables(CONFIG.decoder, rows.positions))
    cos0, sin0 = (table[None, None] for table in rope_tables(CONFIG.decoder, torch.arange(size)))
    mask0 = causal_mask(size)
    for layer in model.model.layers:
        attention = layer.self_attn
        normed0, normed = layer.input_layernorm(constant), layer.input_layernorm(x)
        keys0 = apply_rope(attention.heads(attention.k_proj(normed0)), cos0, sin0)
        values0 = attention.heads(attention.v_proj(normed0))
        keys = apply_rope(attention.heads(attention.k_proj(normed)), cos, sin)
        values = attention.heads(attention.v_proj(normed))
        keys = torch.cat([keys0.expand(len(x), -1, -1, -1), keys], dim=2)  # (batch, kv heads, all, head_dim)
        values = torch.cat([values0.expand(len(x), -1, -1, -1), values], dim=2)
        queries = apply_rope(attention.heads(attention.q_proj(normed)), cos, sin)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=rows.mask, enable_gqa=True)
        x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        constant = layer(constant, cos0, sin0, mask0)
    last: Tensor = model.model.norm(x)
    return last
