"""The vision tower as ONNX: pixels in, patches out.

    pixel_values (batch, 3, image_size, image_size) float32, normalised
    patches      (batch, patches, hidden) float32, after the last norm, the CLS token dropped

Operators are chosen for both onnxruntime's CPU and CUDA kernels: MultiHeadAttention adds the q and v biases itself,
BiasGelu (exact erf) fuses the MLP's first bias. The blocks are residual post-norm, so no skip-norm fusion fits. All
but attention works on rows, one for each token of each picture, as int8 layers want.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto

from export.graphs.graph import GraphBuilder, element_type
from export.graphs.int8_layers import column, int8_linear, int8_product, round_rows
from export.reference.model import resample_grid
from export.weights.folded_tower import norm_divisor
from export.weights.int8 import Int8Linear
from export.weights.tower_weights import PREFIX, TowerWeights
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.formats import FP16, FP32, FP32_FROM_FP16, Precision

# Largest difference to the reference, relative to the reference's largest value. fp32: summation order over 63 blocks.
# Weights stored in fp16: each is off by up to 5e-4 of itself, at random. fp16: that for every activation, too; the
# post-norm keeps it from growing along the blocks.
TOLERANCE = {FP32: 1e-3, FP32_FROM_FP16: 5e-3, FP16: 3e-2}
# Of one block: an activation that lies between two codes may be rounded to either, and what reads it then differs.
TOLERANCE_INT8 = 1e-2


def build_vision(config: VisionConfig, weights: TowerWeights, path: Path, precision: Precision) -> Iterator[str]:
    """Writes `path` and its data; yields a line after each stage, for progress."""
    with GraphBuilder(path, precision) as graph:
        side = config.image_size
        pixels = graph.input("pixel_values", TensorProto.FLOAT, ["batch", 3, side, side])
        x = _embed(graph, config, weights, graph.op("Cast", pixels, to=element_type(precision.compute)))
        x = graph.reshape(x, [-1, config.hidden_size])  # (batch * tokens, hidden)
        graph.seam()
        yield "patch embedding"
        for i in range(config.num_hidden_layers):
            x = _block(graph, config, weights, x, f"{PREFIX}.blocks.{i}")
            graph.seam()
            yield f"block {i + 1}/{config.num_hidden_layers}"
        if weights.divisors is not None:
            x = graph.op("Mul", x, graph.weight("divisors", weights.divisors))
        x = _layer_norm(graph, config, weights, x, f"{PREFIX}.norm")
        x = _drop_cls(graph, graph.reshape(x, [-1, 1 + config.num_patches, config.hidden_size]), config)
        graph.output("patches", x, TensorProto.FLOAT, ["batch", config.num_patches, config.hidden_size])
        graph.save()
    yield "saved"


def num_stages(config: VisionConfig) -> int:
    """How many lines `build_vision` yields."""
    return config.num_hidden_layers + 2


def _embed(graph: GraphBuilder, config: VisionConfig, weights: TowerWeights, pixels: str) -> str:
    """Patches through the convolution, CLS before them, positions added. The position table is resampled here, once:
    the antialiased bicubic resize has no ONNX operator."""
    name = f"{PREFIX}.patch_embed.proj"
    kernel = graph.weight(f"{name}.weight", weights.array(f"{name}.weight"))
    bias = graph.weight(f"{name}.bias", weights.array(f"{name}.bias"))
    patch = [config.patch_size, config.patch_size]
    x = graph.op("Conv", pixels, kernel, bias, name=name, kernel_shape=patch, strides=patch)  # (batch, hidden, g, g)
    flat = graph.constant("patches.shape", np.asarray([0, config.hidden_size, -1], dtype=np.int64))
    x = graph.op("Transpose", graph.op("Reshape", x, flat), perm=[0, 2, 1])  # (batch, patches, hidden)

    stored = weights.array(f"{PREFIX}.pos_embed")  # (1, 1 + position_grid^2, hidden)
    table = resample_grid(torch.from_numpy(stored[0, 1:]), config.grid, antialias=True).numpy()  # (patches, hidden)
    cls = weights.array(f"{PREFIX}.cls_token") + stored[:, :1]
    x = graph.op("Add", x, graph.weight(f"{PREFIX}.pos_embed", table[None]))
    return graph.op("Concat", graph.over_batch(graph.weight(f"{PREFIX}.cls_token", cls), x), x, axis=1)


def _block(graph: GraphBuilder, config: VisionConfig, weights: TowerWeights, x: str, name: str) -> str:
    """(rows, hidden) -> the same shape."""
    hidden, tokens = config.hidden_size, 1 + config.num_patches
    q_bias, v_bias = weights.array(f"{name}.attn.q_bias"), weights.array(f"{name}.attn.v_bias")
    bias = np.concatenate([q_bias, np.zeros_like(q_bias), v_bias])  # keys have none
    q, k, v = (graph.reshape(each, [-1, tokens, hidden]) for each in _qkv(graph, weights, x, f"{name}.attn.qkv"))
    attended = graph.attention(q, k, v, bias, config.num_attention_heads, f"{name}.attn")  # (batch, tokens, hidden)
    attended = _linear(graph, weights, graph.reshape(attended, [-1, hidden]), f"{name}.attn.proj")
    attended = graph.op("Add", attended, _bias(graph, weights, f"{name}.attn.proj"))
    x = graph.op("Add", x, _layer_norm(graph, config, weights, attended, f"{name}.norm1"))

    inner = graph.op(
        "BiasGelu", _linear(graph, weights, x, f"{name}.mlp.fc1"), _bias(graph, weights, f"{name}.mlp.fc1")
    )
    out = _linear(graph, weights, inner, f"{name}.mlp.fc2")
    out = graph.op("Add", out, _bias(graph, weights, f"{name}.mlp.fc2"))
    return graph.op("Add", x, _layer_norm(graph, config, weights, out, f"{name}.norm2"))


def _qkv(graph: GraphBuilder, weights: TowerWeights, x: str, name: str) -> list[str]:
    """Three of (rows, hidden). In int8 they are three products of the same rounded rows: that saves copying parts."""
    weight = weights.linear(name)
    if not isinstance(weight, Int8Linear):
        return graph.split(graph.linear(x, weight, name), [weight.shape[0] // 3] * 3, f"{name}.split")
    rows = round_rows(graph, x, weight.grid, weight.rotation, name)
    scale = column(graph, rows.scale)
    products = (
        int8_product(graph, rows, part, f"{name}.{letter}")
        for letter, part in zip("qkv", weight.weight.split(3), strict=True)
    )
    return [graph.op("Mul", product, scale) for product in products]


def _linear(graph: GraphBuilder, weights: TowerWeights, x: str, name: str) -> str:
    """Without bias."""
    weight = weights.linear(name)
    return int8_linear(graph, x, weight, name) if isinstance(weight, Int8Linear) else graph.linear(x, weight, name)


def _bias(graph: GraphBuilder, weights: TowerWeights, name: str) -> str:
    return graph.weight(f"{name}.bias", weights.array(f"{name}.bias"))


def _layer_norm(graph: GraphBuilder, config: VisionConfig, weights: TowerWeights, x: str, name: str) -> str:
    scale, bias = weights.array(f"{name}.weight"), weights.array(f"{name}.bias")
    return graph.layer_norm(x, scale, bias, config.layer_norm_eps / norm_divisor(weights, name) ** 2, name)


def _drop_cls(graph: GraphBuilder, x: str, config: VisionConfig) -> str:
    start, end, axis = (
        graph.constant(f"patches.{name}", np.asarray([value], dtype=np.int64))
        for name, value in (("start", 1), ("end", 1 + config.num_patches), ("axis", 1))
    )
    return graph.op("Slice", x, start, end, axis)
