"""Small checkpoints in the forms the published ones have, the same bytes of weight on every machine.

The sizes are the project's own `OmniLMMConfig`, so a test can ask for any model with `dataclasses.replace`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import zlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, ResamplerConfig, VisionConfig

# Heads follow the published rules, since a published config.json names none of them for the tower and the
# resampler: 112 wide in the tower, 128 wide in the resampler.
SMALL = OmniLMMConfig(
    vision=VisionConfig(hidden_size=224, intermediate_size=640, num_hidden_layers=2, num_attention_heads=2),
    resampler=ResamplerConfig(hidden_size=256, kv_dim=224, num_attention_heads=2),
    decoder=DecoderConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
    ),
)
# 8 x 8 patches, below the stored 16 x 16 positions, and 16 queries: for tests that only need some model.
TINY = OmniLMMConfig(
    vision=VisionConfig(
        image_size=112, hidden_size=112, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1
    ),
    resampler=ResamplerConfig(num_queries=16, hidden_size=128, kv_dim=112, num_attention_heads=1),
    decoder=DecoderConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
    ),
)

ADDED_TOKENS = ("<im_patch>", "<im_start>", "<im_end>", "<box>", "</box>", "<ref>", "</ref>", "<quad>", "</quad>")


class Form(Enum):
    """How the weights are stored; the two published models use the first and the last."""

    BIN = "one pytorch_model.bin, added_tokens.json (openbmb/OmniLMM-12B)"
    SHARDED_BIN = "pytorch_model-*.bin with an index, added_tokens.json"
    SAFETENSORS = "model-*.safetensors with an index, no added_tokens.json (openbmb/RLAIF-V-12B)"


# ---- weights ----


def bell(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Nearly normal noise, mean 0 and deviation 1, that depends on the tensor's name and the seed only.

    Sums of four 16-bit numbers from PCG64's raw stream: unlike Generator.normal, the raw stream never changes
    between versions of numpy.
    """
    raw = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])).random_raw(math.prod(shape))
    total = raw.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64) - 2 * 65535
    noise: NDArray[np.float32] = (total / math.sqrt((65536**2 - 1) / 3)).astype(np.float32)
    return noise.reshape(shape)


def sincos_table(grid: int, width: int) -> NDArray[np.float32]:
    """2-D sine and cosine positions, what training starts the resampler's table from: (grid * grid, width)."""
    angles = np.arange(grid)[:, None] / 10000.0 ** (np.arange(width // 4) / (width / 4))  # (grid, width / 4)
    axis = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # (grid, width / 2)
    columns, rows = np.tile(axis, (grid, 1)), np.repeat(axis, grid, axis=0)
    table: NDArray[np.float32] = np.concatenate([columns, rows], axis=1).astype(np.float32)
    return table


def tensor_shapes(size: OmniLMMConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor, in the published order of parts: decoder, tower, resampler, head."""
    decoder, vision, resampler = size.decoder, size.vision, size.resampler
    hidden, width, queries = decoder.hidden_size, vision.hidden_size, resampler.num_queries
    yield "model.embed_tokens.weight", (decoder.vocab_size, hidden)
    for layer in range(decoder.num_hidden_layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.self_attn.q_proj.weight", (decoder.q_dim, hidden)
        yield f"{prefix}.self_attn.k_proj.weight", (decoder.kv_dim, hidden)
        yield f"{prefix}.self_attn.v_proj.weight", (decoder.kv_dim, hidden)
        yield f"{prefix}.self_attn.o_proj.weight", (hidden, decoder.q_dim)
        yield f"{prefix}.mlp.gate_proj.weight", (decoder.intermediate_size, hidden)
        yield f"{prefix}.mlp.up_proj.weight", (decoder.intermediate_size, hidden)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, decoder.intermediate_size)
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    tower = "model.vision_tower"
    yield f"{tower}.cls_token", (1, 1, width)
    yield f"{tower}.pos_embed", (1, vision.position_grid**2 + 1, width)
    yield f"{tower}.patch_embed.proj.weight", (width, 3, vision.patch_size, vision.patch_size)
    yield f"{tower}.patch_embed.proj.bias", (width,)
    for block in range(vision.num_hidden_layers):
        prefix = f"{tower}.blocks.{block}"
        yield f"{prefix}.attn.q_bias", (width,)
        yield f"{prefix}.attn.v_bias", (width,)
        yield f"{prefix}.attn.qkv.weight", (3 * width, width)
        for name, rows, columns in (
            ("attn.proj", width, width),
            ("mlp.fc1", vision.intermediate_size, width),
            ("mlp.fc2", width, vision.intermediate_size),
        ):
            yield f"{prefix}.{name}.weight", (rows, columns)
            yield f"{prefix}.{name}.bias", (rows,)
        for name in ("norm1", "norm2"):
            yield f"{prefix}.{name}.weight", (width,)
            yield f"{prefix}.{name}.bias", (width,)
    yield f"{tower}.norm.weight", (width,)
    yield f"{tower}.norm.bias", (width,)
    yield "model.resampler.pos_embed", (queries, hidden)
    yield "model.resampler.query", (queries, hidden)
    yield "model.resampler.proj", (hidden, hidden)
    yield "model.resampler.kv_proj.weight", (hidden, width)
    yield "model.resampler.attn.in_proj_weight", (3 * hidden, hidden)
    yield "model.resampler.attn.in_proj_bias", (3 * hidden,)
    yield "model.resampler.attn.out_proj.weight", (hidden, hidden)
    yield "model.resampler.attn.out_proj.bias", (hidden,)
    for name in ("ln_q", "ln_kv", "ln_post"):
        yield f"model.resampler.{name}.weight", (hidden,)
        yield f"model.resampler.{name}.bias", (hidden,)
    yield "lm_head.weight", (decoder.vocab_size, hidden)


def tensor_values(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Values at a scale where every part matters: attention neither flat nor one-hot, biases and norms not neutral."""
    noise = bell(name, shape, seed)
    if name.endswith("resampler.pos_embed"):  # trained away from its start: a fresh table must not pass for it
        return sincos_table(round(shape[0] ** 0.5), shape[1]) + 0.3 * noise
    if name.endswith("bias"):
        return 0.2 * noise
    if "norm" in name or ".ln_" in name:
        return 1 + 0.2 * noise
    if name.endswith("patch_embed.proj.weight"):
        return noise / np.float32(math.sqrt(math.prod(shape[1:])))
    if name.endswith((".weight", "_weight", ".proj")) and not name.endswith("embed_tokens.weight"):
        gain = 3.0 if name.startswith("lm_head") else 1.4  # clear favourites: greedy decoding must not hang on a tie
        return noise * np.float32(gain / math.sqrt(shape[-1]))
    return noise  # tokens, positions, queries, the CLS token


def weights(size: OmniLMMConfig = SMALL, seed: int = 0) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint, bfloat16."""
    return {
        name: torch.from_numpy(tensor_values(name, shape, seed)).to(torch.bfloat16)
        for name, shape in tensor_shapes(size)
    }


# ---- the files beside the weights ----


def config_json(size: OmniLMMConfig, form: Form, *, vision_config: bool = False) -> dict[str, Any]:
    """config.json with the published keys.

    `vision_config` adds a key that no published config has: the tower's shape in timm's words, `depth` being the
    blocks that are in the file. Without it a reader takes widths and depth from the tensors and 112 for a head.
    """
    decoder, vision = size.decoder, size.vision
    config: dict[str, Any] = {
        "architectures": ["OmniLMMForCausalLM"],
        "bos_token_id": size.tokens.bos,
        "eos_token_id": size.tokens.eos,
        "hidden_act": "silu",
        "hidden_size": decoder.hidden_size,
        "image_size": vision.image_size,
        "initializer_range": 0.02,
        "intermediate_size": decoder.intermediate_size,
        "max_position_embeddings": decoder.max_position_embeddings,
        "mm_use_im_start_end": True,
        "mm_vision_tower": "eva02_enormous_patch14_clip_224.laion2b_plus",
        "model_type": "omnilmm",
        "num_attention_heads": decoder.num_attention_heads,
        "num_hidden_layers": decoder.num_hidden_layers,
        "num_key_value_heads": decoder.num_key_value_heads,
        "num_query": size.resampler.num_queries,
        "pad_token_id": 2,
        "rms_norm_eps": decoder.rms_norm_eps,
        "rope_theta": decoder.rope_theta,
        "sliding_window": decoder.sliding_window,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.35.0",
        "tune_CLIP": True,
        "use_cache": False,
        "use_mm_proj": True,
        "vocab_size": decoder.vocab_size,
    }
    if form is Form.SAFETENSORS:
        config |= {"attention_dropout": 0.0, "transformers_version": "4.36.0"}
    if vision_config:
        config["vision_config"] = {
            "img_size": vision.patch_size * vision.position_grid,
            "patch_size": vision.patch_size,
            "embed_dim": vision.hidden_size,
            "depth": vision.num_hidden_layers,
            "num_heads": vision.num_attention_heads,
            "mlp_hidden": vision.intermediate_size,
        }
    return config


def sentencepiece_model() -> Path:
    """Mistral-7B-v0.1's tokenizer.model, which mistral-common ships."""
    spec = importlib.util.find_spec("mistral_common")
    if spec is None or spec.origin is None:
        raise RuntimeError("tests need mistral-common for its data/tokenizer.model.v1")
    return Path(spec.origin).parent / "data" / "tokenizer.model.v1"


def write_tokenizer(folder: Path, form: Form) -> None:
    shutil.copyfile(sentencepiece_model(), folder / "tokenizer.model")
    ids = {"<unk>": 0, "<s>": 1, "</s>": 2} | {token: 32000 + i for i, token in enumerate(ADDED_TOKENS)}
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    turn = "{{ '<|' + turn['role'] + '|>\\n' + turn['content'] + eos_token + '\\n' }}"
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(i): {"content": token, **plain, "special": True} for token, i in ids.items()},
            "additional_special_tokens": [],
            "bos_token": "<s>",
            "chat_template": "{% for turn in messages %}" + turn + "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
            "clean_up_tokenization_spaces": False,
            "eos_token": "</s>",
            "legacy": True,
            "model_max_length": 2048,
            "pad_token": "</s>",
            "sp_model_kwargs": {},
            "spaces_between_special_tokens": False,
            "tokenizer_class": "LlamaTokenizer",
            "unk_token": "<unk>",
            "use_default_system_prompt": True,
        },
    )
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "special_tokens_map.json", {key: {"content": name, **plain} for key, name in roles.items()})
    if form is not Form.SAFETENSORS:
        write_json(folder / "added_tokens.json", {token: ids[token] for token in sorted(ADDED_TOKENS)})


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def shard(tensors: dict[str, torch.Tensor], count: int) -> list[dict[str, torch.Tensor]]:
    """`count` runs of neighbouring tensors of about the same size, none of them empty."""
    total = sum(tensor.numel() for tensor in tensors.values())
    shards: list[dict[str, torch.Tensor]] = [{} for _ in range(count)]
    seen = 0
    for name, tensor in tensors.items():
        middle = seen + tensor.numel() // 2
        shards[min(middle * count // total, count - 1)][name] = tensor
        seen += tensor.numel()
    return [part for part in shards if part]


def write_weights(folder: Path, tensors: dict[str, torch.Tensor], form: Form, shards: int) -> None:
    if form is Form.BIN:
        # The published pickle rebuilds some tensors through torch.Tensor's own state: so does one with an attribute.
        next(iter(tensors.values())).published = True  # type: ignore[attr-defined]
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    stem, suffix = ("model", "safetensors") if form is Form.SAFETENSORS else ("pytorch_model", "bin")
    parts = shard(tensors, shards)
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        file = folder / f"{stem}-{number:05}-of-{len(parts):05}.{suffix}"
        weight_map |= dict.fromkeys(part, file.name)
        if form is Form.SAFETENSORS:
            save_file(part, file, metadata={"format": "pt"})
        else:
            torch.save(part, file)
    total_size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    write_json(folder / f"{stem}.{suffix}.index.json", index)


def write_checkpoint(
    folder: str | Path,
    *,
    form: Form = Form.BIN,
    seed: int = 0,
    size: OmniLMMConfig = SMALL,
    shards: int = 3,
    vision_config: bool = False,
) -> Path:
    """Writes a whole checkpoint folder (weights, config.json, tokenizer files) and returns it.

    `shards` is how many files the sharded forms aim at; `vision_config` is explained at `config_json`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_json(size, form, vision_config=vision_config))
    write_tokenizer(folder, form)
    write_weights(folder, weights(size, seed), form, shards)
    return folder
