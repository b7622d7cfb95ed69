"""The tensors of every graph that a conversion writes, from the config and the preset alone.

Names, sizes and order are those of `export`; tests hold them against converted bundles, tensor by tensor. Constants of
a few bytes that steer shapes are left out: they stand in the .onnx file, and nobody's memory notices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from omnilmm_lite.bundle.layout import GROUP_SIZE, INNER_ROTATION, STREAM_ROTATION, widest_block
from omnilmm_lite.bundle.packing import FLOAT_BITS, head_row_multiple, padded
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.tensor_size import Role, TensorSize
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, VisionConfig
from omnilmm_lite.formats import LinearFormat, Precision
from omnilmm_lite.keys import Shape, decoder_keys, resampler_keys, vision_keys

FP32_BYTES = 4

Shapes = Mapping[str, Shape]  # of a checkpoint's tensors, by name


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
    name: str,
    rows: int,
    columns: int,
    bits: int,
    precision: Precision,
    *,
    largest_group: int = GROUP_SIZE,
    zeros: bool,
) -> Iterator[TensorSize]:
    """MatMulNBits: codes; for each group of a row a scale in the activations' format, and a zero point."""
    groups = columns // group_size(columns, largest_group)
    yield exact(f"{name}.qweight", rows * columns * bits // 8, Role.GROUP_CODES)
    yield exact(f"{name}.scales", rows * groups * precision.compute.numpy.itemsize, Role.GROUP_SCALES)
    if zeros:
        yield exact(f"{name}.qzeros", rows * -(-groups * bits // 8))


def group_size(columns: int, largest: int = GROUP_SIZE) -> int:
    """Weights of a row of `columns` that share a scale."""
    return widest_block(columns, largest)


def hadamard(*sizes: int) -> Iterator[TensorSize]:
    """The matrices of the rotations, one for each size."""
    for size in sorted(set(sizes) - {1}):
        yield exact(f"int8.hadamard.{size}", size * size * FP32_BYTES)


def as_in(keys: Shapes, name: str, precision: Precision) -> TensorSize:
    """A tensor that the graph has as the checkpoint does."""
    return floats(name, precision, *keys[name])


def norm(name: str, keys: Shapes, precision: Precision) -> Iterator[TensorSize]:
    """LayerNorm's weight and bias."""
    yield as_in(keys, f"{name}.weight", precision)
    yield as_in(keys, f"{name}.bias", precision)


# ---- graphs ----


def _vision(config: VisionConfig, precision: Precision, tower: LinearFormat) -> Iterator[TensorSize]:
    width, mlp = config.hidden_size, config.intermediate_size
    prefix, keys = "model.vision_tower", vision_keys(config)
    for name in ("patch_embed.proj.weight", "patch_embed.proj.bias"):
        yield as_in(keys, f"{prefix}.{name}", precision)
    yield floats(f"{prefix}.pos_embed", precision, config.num_patches, width)  # resampled, without cls_token's
    yield as_in(keys, f"{prefix}.cls_token", precision)
    if tower is LinearFormat.INT8:
        # The inner one is there if a single block profits from it, which only weights and pictures decide: where none
        # does, the file is a page smaller than this.
        yield from hadamard(widest_block(width, STREAM_ROTATION), widest_block(mlp, INNER_ROTATION))
    for index in range(config.num_hidden_layers):
        block = f"{prefix}.blocks.{index}"
        yield from _tower_qkv(f"{block}.attn.qkv", keys, precision, tower)
        yield floats(f"{block}.attn.bias", precision, 3 * width)
        yield from _tower_linear(f"{block}.attn.proj", keys, precision, tower)
        yield as_in(keys, f"{block}.attn.proj.bias", precision)
        yield from norm(f"{block}.norm1", keys, precision)
        yield from _tower_linear(f"{block}.mlp.fc1", keys, precision, tower)
        yield as_in(keys, f"{block}.mlp.fc1.bias", precision)
        yield from _tower_linear(f"{block}.mlp.fc2", keys, precision, tower)
        yield as_in(keys, f"{block}.mlp.fc2.bias", precision)
        yield from norm(f"{block}.norm2", keys, precision)
    if tower is LinearFormat.INT8:
        yield floats("divisors", precision, width)
    yield from norm(f"{prefix}.norm", keys, precision)


def _tower_qkv(name: str, keys: Shapes, precision: Precision, tower: LinearFormat) -> Iterator[TensorSize]:
    """One product in floats and groups, three of the same rounded rows in int8."""
    if tower is not LinearFormat.INT8:
        yield from _tower_linear(name, keys, precision, tower)
        return
    rows, columns = keys[f"{name}.weight"]
    for part in "qkv":
        yield from int8_codes(f"{name}.{part}", rows // 3, columns)


def _tower_linear(name: str, keys: Shapes, precision: Precision, tower: LinearFormat) -> Iterator[TensorSize]:
    rows, columns = keys[f"{name}.weight"]
    if tower is LinearFormat.INT8:
        yield from int8_codes(name, rows, columns)
    elif tower is LinearFormat.BITS8:
        yield from nbits(name, rows, columns, 8, precision, zeros=False)
    else:
        yield floats(f"{name}.weight", precision, rows, columns)


def _resampler(config: OmniLMMConfig, precision: Precision) -> Iterator[TensorSize]:
    width = config.resampler.hidden_size
    prefix, keys = "model.resampler", resampler_keys(config.resampler)
    yield as_in(keys, f"{prefix}.kv_proj.weight", precision)
    yield from norm(f"{prefix}.ln_kv", keys, precision)
    yield floats(f"{prefix}.attn.in_proj.weight", precision, 2 * width, width)  # the queries' third is folded
    yield floats(f"{prefix}.attn.key_offset", precision, config.vision.num_patches, width)
    yield floats(f"{prefix}.attn.value_bias", precision, width)
    yield floats(f"{prefix}.queries", precision, *keys[f"{prefix}.query"])
    for name in ("attn.out_proj.weight", "attn.out_proj.bias"):
        yield as_in(keys, f"{prefix}.{name}", precision)
    yield from norm(f"{prefix}.ln_post", keys, precision)
    yield floats(f"{prefix}.proj.weight", precision, *keys[f"{prefix}.proj"])


def _decoder(config: DecoderConfig, preset: Preset, *, int8: bool) -> Iterator[TensorSize]:
    """`int8`: the graph for prompts."""
    precision, keys = preset.decoder, decoder_keys(config)
    table = config.max_position_embeddings * config.head_dim // 2 * precision.compute.numpy.itemsize
    yield exact("rope.cos", table)
    yield exact("rope.sin", table)
    if int8:
        widths = (config.hidden_size, config.q_dim, config.intermediate_size)
        yield from hadamard(*(widest_block(columns, STREAM_ROTATION) for columns in widths))
    for index in range(config.num_hidden_layers):
        layer = f"model.layers.{index}"
        yield as_in(keys, f"{layer}.input_layernorm.weight", precision)
        attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        yield from _decoder_linear(f"{attention}.qkv_proj", _stacked(keys, attention, *"qkv"), preset, int8)
        yield from _decoder_linear(f"{attention}.o_proj", _stacked(keys, attention, "o"), preset, int8)
        yield as_in(keys, f"{layer}.post_attention_layernorm.weight", precision)
        if int8:
            for part in ("gate", "up"):
                yield from int8_codes(f"{mlp}.{part}_proj", *_stacked(keys, mlp, part))
        else:
            yield from _decoder_linear(f"{mlp}.gate_up_proj", _stacked(keys, mlp, "gate", "up"), preset, int8)
        yield from _decoder_linear(f"{mlp}.down_proj", _stacked(keys, mlp, "down"), preset, int8)
    yield as_in(keys, "model.norm.weight", precision)
    rows, columns = keys["lm_head.weight"]
    if int8:
        yield from int8_codes("lm_head", rows, columns)
        return
    bits = preset.lm_head_bits if preset.quantized else FLOAT_BITS
    rows = padded(rows, head_row_multiple(bits, preset.target, preset.packing))
    if bits == FLOAT_BITS:
        yield floats("lm_head.weight", precision, rows, columns)
    else:
        yield from _decoder_nbits("lm_head", rows, columns, bits, preset)


def _stacked(keys: Shapes, prefix: str, *parts: str) -> tuple[int, int]:
    """Rows and columns of the projections that one product computes."""
    shapes = [keys[f"{prefix}.{part}_proj.weight"] for part in parts]
    return sum(rows for rows, _ in shapes), shapes[0][1]


def _decoder_linear(name: str, shape: tuple[int, int], preset: Preset, int8: bool) -> Iterator[TensorSize]:
    if int8:
        yield from int8_codes(name, *shape)
    elif preset.quantized:
        yield from _decoder_nbits(name, *shape, 4, preset)
    else:
        yield floats(f"{name}.weight", preset.decoder, *shape)


def _decoder_nbits(name: str, rows: int, columns: int, bits: int, preset: Preset) -> Iterator[TensorSize]:
    largest, zeros = preset.packing.group_size, preset.packing.has_zero_points
    return nbits(name, rows, columns, bits, preset.decoder, largest_group=largest, zeros=zeros)
