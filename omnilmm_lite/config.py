"""The model's shape: what the graphs, the runtime and the memory plan all read.

Field names follow transformers' MistralConfig and timm's Eva where those have a name for the thing.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

# OpenAI CLIP's normalisation, which OmniLMM's preprocessing uses (RGB order, on [0, 1] values).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VisionConfig:
    """EVA02-CLIP tower of residual post-norm blocks (timm's `Eva` with `use_post_norm`)."""

    image_size: int = 448
    patch_size: int = 14
    hidden_size: int = 1792
    intermediate_size: int = 15360
    num_hidden_layers: int = 63  # the published tower has 64; its last block is replaced by Identity
    num_attention_heads: int = 16
    position_grid: int = 16  # side of the stored position table; resampled to `grid` once
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Patches along one side of the picture."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        return self.grid * self.grid

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class ResamplerConfig:
    """Perceiver resampler: a square grid of learned queries, one cross-attention over the patches."""

    num_queries: int = 256
    hidden_size: int = 4096
    kv_dim: int = 1792
    num_attention_heads: int = 32
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Side of the query grid, which is also the side of the stored position table."""
        return math.isqrt(self.num_queries)

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class DecoderConfig:
    """Mistral/Zephyr-7B."""

    vocab_size: int = 32009
    hidden_size: int = 4096
    intermediate_size: int = 14336
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    head_dim: int = 128
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    sliding_window: int | None = 4096  # a token sees itself and the `sliding_window - 1` before it
    max_position_embeddings: int = 32768

    @property
    def q_dim(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        return self.num_key_value_heads * self.head_dim


@dataclass(frozen=True)
class TokenIds:
    """The special tokens' ids; everything else a tokenizer can produce is text."""

    bos: int = 1
    eos: int = 2
    im_patch: int = 32000
    im_start: int = 32001
    im_end: int = 32002


@dataclass(frozen=True)
class OmniLMMConfig:
    """The whole model. The defaults are openbmb/OmniLMM-12B's, which RLAIF-V-12B shares."""

    vision: VisionConfig = VisionConfig()
    resampler: ResamplerConfig = ResamplerConfig()
    decoder: DecoderConfig = DecoderConfig()
    tokens: TokenIds = TokenIds()

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
