"""The tensors of every graph that a conversion writes, from the config and the preset alone.

Names, sizes and order are those of `export`; tests hold them against converted bundles, tensor by tensor. Constants of
a few bytes that steer shapes are left out: they stand in the .onnx file, and nobody's memory notices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.tensor_size import Role, TensorSize
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, VisionConfig
from omnilmm_lite.formats import LinearFormat, Precision

FP32_BYTES = 4
GROUP_SIZE = 128
WIDEST_ROTATION = 64  # of the tower's stream, and before every int8 layer of the decoder
INNER_ROTATION = 32  # in the tower's MLPs
ROW_MULTIPLE = 8  # of a quantized lm_head, which is padded


@dataclass(frozen=True)
class GraphTensors:
    """`prefill` is empty where one decoder graph serves prompts and answers."""

    vision: tuple[TensorSize, ...]
    resampler: tuple[TensorSize, ...]
    decoder: tuple[TensorSize, ...]
    prefill: tuple[TensorSize, ...] = ()


def graph_tensors(config: OmniLMMConfig, preset: Preset) -> GraphTensors:
    """Every graph's tensors, in the order in which they are written."""
    prefill = tuple(_decoder(config.decoder, preset, int8=True)) if preset.int8_prefill else ()
    return GraphTensors(
        vision=tuple(_vision(config.vision, preset.vision, preset.tower)),
        resampler=tuple(_resampler(config, preset.resampler)),
        decoder=tuple(_decoder(config.decoder, preset, int8=False)),
        prefill=prefill,
    )


# ---- linear layers ----


def floats(name: str, precision: Precision, *shape: int) -> TensorSize:
    """A weight in the precision's storage format, widened to its compute format."""
    count = math.prod(shape)
    return TensorSize(name, count * precision.storage.numpy.itemsize, count * precision.compute.numpy.itemsize)


def exact(name: str, size: int, role: Role = Role.PLAIN) -> TensorSize:
    """A tensor that is stored as it is computed with."""
    return TensorSize(name, size, size, role)


def int8_codes(name: str, rows: int, columns: int) -> Iterator[TensorSize]:
    """One code a weight, one fp32 scale a row."""
    yield exact(f"{name}.codes", rows * columns)
    yield exact(f"{name}.scale", rows * FP32_BYTES)


def nbits(
    name: str, rows: int, columns: int, bits: int, precision: Precision, *, zeros: bool = True
) -> Iterator[TensorSize]:
    """MatMulNBits: codes; for each group of a row a scale in the activations' format, and a zero point."""
    groups = columns // group_size(columns)
    yield exact(f"{name}.qweight", rows * columns * bits // 8)
    yield exact(f"{name}.scales", rows * groups * precision.compute.numpy.itemsize, Role.GROUP_SCALES)
    if zeros:
        yield exact(f"{name}.qzeros", rows * -(-groups * bits // 8))


def group_size(columns: int) -> int:
    """The largest power of two that divides a row, GROUP_SIZE at most."""
    return math.gcd(columns, GROUP_SIZE)


def rotation(columns: int, widest: int = WIDEST_ROTATION) -> int:
    """The largest power of two that divides a row, `widest` at most."""
    return math.gcd(columns, widest)


def hadamard(*sizes: int) -> Iterator[TensorSize]:
    """The matrices of the rotations, one for each size."""
    for size in sorted(set(sizes) - {1}):
        yield exact(f"int8.hadamard.{size}", size * size * FP32_BYTES)


def norm(name: str, precision: Precision, width: int) -> Iterator[TensorSize]:
    """LayerNorm's."""
    yield floats(f"{name}.weight", precision, width)
    yield floats(f"{name}.bias", precision, width)


# ---- graphs ----


def _vision(config: VisionConfig, precision: Precision, tower: LinearFormat) -> Iterator[TensorSize]:
    width, mlp, patch = config.hidden_size, config.intermediate_size, config.patch_size
    prefix = "model.vision_tower"
    yield floats(f"{prefix}.patch_embed.proj.weight", precision, width, 3, patch, patch)
    yield floats(f"{prefix}.patch_embed.proj.bias", precision, width)
    yield floats(f"{prefix}.pos_embed", precision, config.num_patches, width)
    yield floats(f"{prefix}.cls_token", precision, width)
    if tower is LinearFormat.INT8:
        # The inner one is there if a single block profits from it, which only weights and pictures decide: where none
        # does, the file is a page smaller than this.
        yield from hadamard(rotation(width), rotation(mlp, INNER_ROTATION))
    for index in range(config.num_hidden_layers):
        block = f"{prefix}.blocks.{index}"
        yield from _tower_qkv(f"{block}.attn.qkv", width, precision, tower)
        yield floats(f"{block}.attn.bias", precision, 3 * width)
        yield from _tower_linear(f"{block}.attn.proj", width, width, precision, tower)
        yield floats(f"{block}.attn.proj.bias", precision, width)
        yield from norm(f"{block}.norm1", precision, width)
        yield from _tower_linear(f"{block}.mlp.fc1", mlp, width, precision, tower)
        yield floats(f"{block}.mlp.fc1.bias", precision, mlp)
        yield from _tower_linear(f"{block}.mlp.fc2", width, mlp, precision, tower)
        yield floats(f"{block}.mlp.fc2.bias", precision, width)
        yield from norm(f"{block}.norm2", precision, width)
    if tower is LinearFormat.INT8:
        yield floats("divisors", precision, width)
    yield from norm(f"{prefix}.norm", precision, width)


def _tower_qkv(name: str, width: int, precision: Precision, tower: LinearFormat) -> Iterator[TensorSize]:
    """One product in floats and groups, three of the same rounded rows in int8."""
    if tower is not LinearFormat.INT8:
        yield from _tower_linear(name, 3 * width, width, precision, tower)
        return
    for part in "qkv":
        yield from int8_codes(f"{name}.{part}", width, width)


def _tower_linear(
    name: str, rows: int, columns: int, precision: Precision, tower: LinearFormat
) -> Iterator[TensorSize]:
    if tower is LinearFormat.INT8:
        yield from int8_codes(name, rows, columns)
    elif tower is LinearFormat.BITS8:
        yield from nbits(name, rows, columns, 8, precision, zeros=False)
    else:
        yield floats(f"{name}.weight", precision, rows, columns)


def _resampler(config: OmniLMMConfig, precision: Precision) -> Iterator[TensorSize]:
    width, queries = config.resampler.hidden_size, config.resampler.num_queries
    prefix = "model.resampler"
    yield floats(f"{prefix}.kv_proj.weight", precision, width, config.resampler.kv_dim)
    yield from norm(f"{prefix}.ln_kv", precision, width)
    yield floats(f"{prefix}.attn.in_proj.weight", precision, 2 * width, width)
    yield floats(f"{prefix}.attn.key_offset", precision, config.vision.num_patches, width)
    yield floats(f"{prefix}.attn.value_bias", precision, width)
    yield floats(f"{prefix}.queries", precision, queries, width)
    yield floats(f"{prefix}.attn.out_proj.weight", precision, width, width)
    yield floats(f"{prefix}.attn.out_proj.bias", precision, width)
    yield from norm(f"{prefix}.ln_post", precision, width)
    yield floats(f"{prefix}.proj.weight", precision, width, width)


def _decoder(config: DecoderConfig, preset: Preset, *, int8: bool) -> Iterator[TensorSize]:
    """`int8`: the graph for prompts."""
    precision, hidden, mlp = preset.decoder, config.hidden_size, config.intermediate_size
    table = config.max_position_embeddings * config.head_dim // 2 * precision.compute.numpy.itemsize
    yield exact("rope.cos", table)
    yield exact("rope.sin", table)
    if int8:
        yield from hadamard(*(rotation(columns) for columns in (hidden, config.q_dim, mlp)))
    for index in range(config.num_hidden_layers):
        layer = f"model.layers.{index}"
        yield floats(f"{layer}.input_layernorm.weight", precision, hidden)
        yield from _decoder_linear(
            f"{layer}.self_attn.qkv_proj", config.q_dim + 2 * config.kv_dim, hidden, preset, int8
        )
        yield from _decoder_linear(f"{layer}.self_attn.o_proj", hidden, config.q_dim, preset, int8)
        yield floats(f"{layer}.post_attention_layernorm.weight", precision, hidden)
        if int8:
            yield from int8_codes(f"{layer}.mlp.gate_proj", mlp, hidden)
            yield from int8_codes(f"{layer}.mlp.up_proj", mlp, hidden)
        else:
            yield from _decoder_linear(f"{layer}.mlp.gate_up_proj", 2 * mlp, hidden, preset, int8)
        yield from _decoder_linear(f"{layer}.mlp.down_proj", hidden, mlp, preset, int8)
    yield floats("model.norm.weight", precision, hidden)
    if int8:
        yield from int8_codes("lm_head", config.vocab_size, hidden)
    elif preset.quantized and preset.lm_head_bits == 8:
        yield from nbits("lm_head", -(-config.vocab_size // ROW_MULTIPLE) * ROW_MULTIPLE, hidden, 8, precision)
    else:
        yield floats("lm_head.weight", precision, config.vocab_size, hidden)


def _decoder_linear(name: str, rows: int, columns: int, preset: Preset, int8: bool) -> Iterator[TensorSize]:
    if int8:
        yield from int8_codes(name, rows, columns)
    elif preset.quantized:
        yield from nbits(name, rows, columns, 4, preset.decoder)
    else:
        yield floats(f"{name}.weight", preset.decoder, rows, columns)
