"""config.json and the tokenizer's files of a Hugging Face folder -> OmniLMMConfig.

The published config.json describes the decoder and the resampler, but of the vision tower only names the timm model.
What it leaves out comes from an optional `vision_config` (timm's names), from that model's published shape, or from
the shapes of the tensors. No torch here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.checkpoint.added_tokens import ADDED_TOKENS, IMAGE_TOKENS, added_tokens
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, ResamplerConfig, TokenIds, VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import read_json, shown
from omnilmm_lite.keys import Shape

MODEL_TYPE = "omnilmm"
ARCHITECTURE = "OmniLMMForCausalLM"
RESAMPLER_HEAD_DIM = 128  # the reference takes hidden_size // 128 heads
TOWER = "model.vision_tower."

# `vision_config`'s names, which are timm's, -> ours.
VISION_FIELDS = {
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "mlp_hidden": "intermediate_size",
    "patch_size": "patch_size",
    "position_grid": "position_grid",
}

# Twice to sixteen times what any model of this kind has: a typo must not become a table of a billion keys.
MAX_WIDTH = 1 << 17
MAX_LAYERS = 1024
MAX_VOCAB = 1 << 22
MAX_CONTEXT = 1 << 24
MAX_IMAGE = 1 << 13
MAX_GRID = 1 << 10


@dataclass(frozen=True)
class ConfigFields:
    """An object of a JSON file, whose values are checked as they are taken."""

    values: Mapping[str, Any]
    where: str

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within [low, high]; without a default the field must be there."""
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise InputError(f"{self.where} has no {name}; an OmniLMM checkpoint's config names it")
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise InputError(f"{self.where}: {name} is {shown(value)}, not a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A number within [low, high]; without a default the field must be there."""
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise InputError(f"{self.where} has no {name}; an OmniLMM checkpoint's config names it")
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:  # NaN fails too
            raise InputError(f"{self.where}: {name} is {shown(value)}, not a number from {low:g} to {high:g}")
        return float(value)


def read_config(folder: Path) -> ConfigFields:
    """config.json's fields; InputError unless they are an OmniLMM's, before any of its weights is looked at."""
    path = folder / "config.json"
    values = read_json(path)
    check_architecture(values, path)
    return ConfigFields(values, str(path))


def model_config(folder: Path, fields: ConfigFields, shapes: Mapping[str, Shape]) -> OmniLMMConfig:
    """The whole model's config. `shapes` are those of the checkpoint's tensors; InputError for sizes out of bounds."""
    decoder = decoder_config(fields)
    vision = vision_config(fields, shapes)
    return OmniLMMConfig(
        vision=vision,
        resampler=resampler_config(fields, vision),
        decoder=decoder,
        tokens=token_ids(folder, fields, decoder.vocab_size),
    )


def check_architecture(values: Mapping[str, Any], path: Path) -> None:
    """InputError unless it's an OmniLMM whose computation is the one this project knows."""
    model_type, architectures = values.get("model_type"), values.get("architectures")
    named = isinstance(architectures, list) and ARCHITECTURE in architectures
    if model_type != MODEL_TYPE and not named:
        found = f"model_type {shown(model_type)}, architectures {shown(architectures)}"
        raise InputError(f"{path} is not an OmniLMM's ({found}): OmniLMM-12B or RLAIF-V-12B is needed")
    if values.get("quantization_config"):
        raise InputError(f"{path}: the checkpoint is quantized already; the original one is needed")
    fixed: tuple[tuple[str, Any], ...] = (
        ("tie_word_embeddings", False),
        ("hidden_act", "silu"),
        ("rope_scaling", None),
        ("mm_use_im_start_end", True),
    )
    for name, supported in fixed:
        value = values.get(name)
        if value is not None and value != supported:
            found = shown(value)
            raise InputError(f"{path}: {name} is {found}; only {supported!r}, as OmniLMM-12B has it, is supported")


def decoder_config(fields: ConfigFields) -> DecoderConfig:
    """Mistral's fields under transformers' names, `rope_parameters` of transformers 5 included."""
    hidden = fields.integer("hidden_size", 1, MAX_WIDTH)
    heads = fields.integer("num_attention_heads", 1, MAX_WIDTH)
    kv_heads = fields.integer("num_key_value_heads", 1, MAX_WIDTH)
    if heads % kv_heads:
        raise InputError(f"{fields.where}: {heads} attention heads can't share {kv_heads} key-value heads evenly")
    if fields.values.get("head_dim") is None and hidden % heads:
        raise InputError(f"{fields.where}: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
    head_dim = fields.integer("head_dim", 1, MAX_WIDTH, default=hidden // heads)
    if head_dim % 2:
        raise InputError(f"{fields.where}: rotary positions need an even head_dim, found {head_dim}")
    window = None
    if fields.values.get("sliding_window", DecoderConfig.sliding_window) is not None:
        window = fields.integer("sliding_window", 1, MAX_CONTEXT, default=DecoderConfig.sliding_window)
    return DecoderConfig(
        vocab_size=fields.integer("vocab_size", 1, MAX_VOCAB),
        hidden_size=hidden,
        intermediate_size=fields.integer("intermediate_size", 1, MAX_WIDTH),
        num_hidden_layers=fields.integer("num_hidden_layers", 1, MAX_LAYERS),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=fields.number("rms_norm_eps", 0.0, 0.1),
        rope_theta=rope_theta(fields),
        sliding_window=window,
        max_position_embeddings=fields.integer("max_position_embeddings", 1, MAX_CONTEXT),
    )


def rope_theta(fields: ConfigFields) -> float:
    """`rope_theta`, which transformers 5 writes inside `rope_parameters`."""
    parameters = fields.values.get("rope_parameters")
    if parameters is None:
        return fields.number("rope_theta", 1.0, 1e9)
    if not isinstance(parameters, dict) or parameters.get("rope_type", "default") != "default":
        found = shown(parameters)
        raise InputError(f"{fields.where}: rope_parameters is {found}; only rope_type 'default' is supported")
    return ConfigFields(parameters, f"{fields.where}, rope_parameters").number("rope_theta", 1.0, 1e9)


def resampler_config(fields: ConfigFields, vision: VisionConfig) -> ResamplerConfig:
    hidden = fields.integer("hidden_size", 1, MAX_WIDTH)
    queries = fields.integer("num_query", 1, MAX_GRID**2)
    if math.isqrt(queries) ** 2 != queries:
        raise InputError(f"{fields.where}: num_query is {queries}, not a square: the queries form a grid")
    heads = max(1, hidden // RESAMPLER_HEAD_DIM)
    if hidden % heads:
        raise InputError(f"{fields.where}: hidden_size {hidden} can't be split into the resampler's {heads} heads")
    return ResamplerConfig(
        num_queries=queries, hidden_size=hidden, kv_dim=vision.hidden_size, num_attention_heads=heads
    )


# ---- the tower, of which config.json says little ----


def vision_config(fields: ConfigFields, shapes: Mapping[str, Shape]) -> VisionConfig:
    """`vision_config`'s fields where given; the rest is the published tower's, or follows from the shapes."""
    given = fields.values.get("vision_config")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise InputError(f"{fields.where}: vision_config must be an object with {', '.join(VISION_FIELDS)}")
    nested = ConfigFields(given, f"{fields.where}, vision_config")
    limits = {"depth": MAX_LAYERS, "patch_size": MAX_IMAGE, "position_grid": MAX_GRID}
    stated = {
        ours: nested.integer(name, 1, limits.get(name, MAX_WIDTH))
        for name, ours in VISION_FIELDS.items()
        if name in given
    }
    image_size = fields.integer("image_size", 1, MAX_IMAGE)
    sizes = stated if len(stated) == len(VISION_FIELDS) else inferred_tower(shapes, fields.where, stated) | stated
    vision = VisionConfig(image_size=image_size, **sizes)
    if image_size % vision.patch_size:
        raise InputError(f"{fields.where}: image_size {image_size} is not a multiple of patches of {vision.patch_size}")
    width, heads = vision.hidden_size, vision.num_attention_heads
    if width % heads:
        raise InputError(f"{fields.where}: the tower's width {width} is not a multiple of its {heads} heads")
    return vision


def inferred_tower(shapes: Mapping[str, Shape], where: str, stated: Mapping[str, int]) -> dict[str, int]:
    """The tower's sizes from the checkpoint's shapes; the published ones if they have its width or no tower at all."""
    published = {name: getattr(VisionConfig, name) for name in VISION_FIELDS.values()}
    cls_token = shapes.get(f"{TOWER}cls_token")
    if cls_token is None or cls_token == (1, 1, published["hidden_size"]):
        return published  # without a tower the missing keys are reported against the published one
    hidden = _dimension(shapes, "cls_token", 3, 2)
    positions = _dimension(shapes, "pos_embed", 3, 1) - 1
    grid = math.isqrt(max(positions, 0))
    if grid == 0 or grid * grid != positions:
        raise InputError(f"{TOWER}pos_embed has {positions} positions beside CLS's, which is not a square grid")
    return {
        "hidden_size": hidden,
        "num_hidden_layers": _count_blocks(shapes),
        "num_attention_heads": stated.get("num_attention_heads") or _guess_heads(hidden, where),
        "intermediate_size": _dimension(shapes, "blocks.0.mlp.fc1.weight", 2, 0),
        "patch_size": _dimension(shapes, "patch_embed.proj.weight", 4, 2),
        "position_grid": grid,
    }


def _guess_heads(hidden: int, where: str) -> int:
    """Shapes don't show the heads: the published head size, else timm's usual one, else the published count."""
    for head_dim in (VisionConfig().head_dim, 64):
        if hidden % head_dim == 0:
            return hidden // head_dim
    if hidden % VisionConfig.num_attention_heads == 0:
        return VisionConfig.num_attention_heads
    raise InputError(f"{where}: how many heads a tower {hidden} wide has can't be told; add vision_config.num_heads")


def _dimension(shapes: Mapping[str, Shape], name: str, rank: int, axis: int) -> int:
    shape = shapes.get(TOWER + name)
    if shape is None or len(shape) != rank or not 0 < shape[axis] <= MAX_WIDTH:
        found = "missing" if shape is None else f"of shape {shown(list(shape))}"
        raise InputError(f"{TOWER}{name} is {found}: the tower's size can't be told; is this checkpoint complete?")
    return shape[axis]


def _count_blocks(shapes: Mapping[str, Shape]) -> int:
    # The number of distinct ones, not the largest: a stray blocks.999999 is one unexpected key, not a million missing.
    pattern = re.compile(re.escape(TOWER) + r"blocks\.(\d+)\.")
    return len({match[1] for name in shapes if (match := pattern.match(name))})


# ---- special tokens ----


def token_ids(folder: Path, fields: ConfigFields, vocab_size: int) -> TokenIds:
    """bos and eos from config.json; the image tokens from the tokenizer's files, else from their published order."""
    top = vocab_size - 1
    added = next((found for _, found in added_tokens(folder) if set(IMAGE_TOKENS) <= set(found)), None)
    if added is None:
        first = vocab_size - len(ADDED_TOKENS)
        added = {token: first + index for index, token in enumerate(ADDED_TOKENS)}
    names = dict(zip(("im_patch", "im_start", "im_end"), IMAGE_TOKENS, strict=True))
    special = ConfigFields(added, f"{folder}, the tokenizer's added tokens")
    tokens = TokenIds(
        bos=fields.integer("bos_token_id", 0, top, default=TokenIds.bos),
        eos=fields.integer("eos_token_id", 0, top, default=TokenIds.eos),
        **{name: special.integer(token, 0, top) for name, token in names.items()},
    )
    if len({tokens.im_patch, tokens.im_start, tokens.im_end} - {tokens.bos, tokens.eos}) != len(IMAGE_TOKENS):
        raise InputError(f"{folder}: two special tokens have the same id ({tokens}); check its tokenizer's files")
    return tokens
