"""The tensors an OmniLMM checkpoint must hold, name by name, and the few others that it may hold.

Names and shapes follow from the config alone; the reference model has the same ones. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, ResamplerConfig, VisionConfig
from omnilmm_lite.files.printable import printable

Shape = tuple[int, ...]

LISTED = 3  # tensors that an error names

# Tensors some versions of the reference's libraries save and no answer depends on: name, why it is safe to leave out.
HARMLESS_EXTRAS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"),
        "the rotary frequencies, computed from rope_theta; transformers saved them until 4.33",
    ),
    (
        re.compile(r"model\.vision_tower\.blocks\.\d+\.attn\.k_bias"),
        "adds the same number to all of a query's scores, which softmax cancels",
    ),
    (
        re.compile(r"model\.vision_tower\.head\.(weight|bias)"),
        "the CLIP projection after the pooled output; the resampler reads the patches before it",
    ),
)


def is_harmless_extra(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern, _ in HARMLESS_EXTRAS)


def decoder_keys(config: DecoderConfig) -> dict[str, Shape]:
    """Name -> shape of the decoder's tensors, Mistral's: nine a layer, and three more."""
    hidden, mlp = config.hidden_size, config.intermediate_size
    keys: dict[str, Shape] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (config.vocab_size, hidden),
    }
    layer: dict[str, Shape] = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (config.q_dim, hidden),
        "self_attn.k_proj": (config.kv_dim, hidden),
        "self_attn.v_proj": (config.kv_dim, hidden),
        "self_attn.o_proj": (hidden, config.q_dim),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    for index in range(config.num_hidden_layers):
        keys |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    return keys


def resampler_keys(config: ResamplerConfig) -> dict[str, Shape]:
    """Name -> shape of the resampler's fourteen tensors."""
    width, queries = config.hidden_size, config.num_queries
    keys: dict[str, Shape] = {
        "pos_embed": (queries, width),
        "query": (queries, width),
        "kv_proj.weight": (width, config.kv_dim),
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "proj": (width, width),
    }
    for norm in ("ln_q", "ln_kv", "ln_post"):
        keys |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return {f"model.resampler.{name}": shape for name, shape in keys.items()}


def vision_keys(config: VisionConfig) -> dict[str, Shape]:
    """Name -> shape of the tower's tensors, timm's Eva without its head: thirteen a block, and six more."""
    width, mlp, patch = config.hidden_size, config.intermediate_size, config.patch_size
    keys: dict[str, Shape] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, config.position_grid**2 + 1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    block: dict[str, Shape] = {
        "attn.qkv.weight": (3 * width, width),
        "attn.q_bias": (width,),
        "attn.v_bias": (width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "mlp.fc1.weight": (mlp, width),
        "mlp.fc1.bias": (mlp,),
        "mlp.fc2.weight": (width, mlp),
        "mlp.fc2.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
    }
    for index in range(config.num_hidden_layers):
        keys |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    return {f"model.vision_tower.{name}": shape for name, shape in keys.items()}


def expected_keys(config: OmniLMMConfig) -> dict[str, Shape]:
    """Name -> shape of every tensor of the model, in the checkpoint's names."""
    return decoder_keys(config.decoder) | resampler_keys(config.resampler) | vision_keys(config.vision)


def key_mismatch(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str | None:
    """One line on how the tensors found differ from those expected, which names LISTED of them; None if they fit."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected and not is_harmless_extra(name)]
    misshapen = [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != shape
    ]
    parts = []
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrongly shaped", misshapen))
    shown = LISTED // max(1, sum(bool(items) for _, items in kinds))
    for kind, items in kinds:
        if items:
            more = f" and {len(items) - shown} more" if len(items) > shown else ""
            parts.append(f"{len(items)} {kind} ({'; '.join(printable(item) for item in items[:shown])}{more})")
    return ", ".join(parts) or None
