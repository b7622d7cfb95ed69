"""The vision tower as ONNX: pixels in, patches out.

    pixel_values (batch, 3, image_size, image_size) float32, normalised
    patches      (batch, patches, hidden) float32, after the last norm, the CLS token dropped

Operators are chosen for both onnxruntime's CPU and CUDA kernels: MultiHeadAttention adds the q and v biases itself,
BiasGelu (exact erf) fuses the MLP's first bias. The blocks are residual post-norm, so no skip-norm fusion fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import TensorProto

from export.checkpoint import Checkpoint
from export.graph import GraphBuilder, element_type
from export.reference import VisionTower
from export.streaming import load_module
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.precision import FP16, FP32, FP32_FROM_FP16, Precision

# Largest difference to the reference, relative to the reference's largest value. fp32: summation order over 63 blocks.
# Weights stored in fp16: each is off by up to 5e-4 of itself, at random. fp16: that for every activation, too; the
# post-norm keeps it from growing along the blocks.
TOLERANCE = {FP32: 1e-3, FP32_FROM_FP16: 5e-3, FP16: 3e-2}

PREFIX = "model.vision_tower"


def build_vision(checkpoint: Checkpoint, path: Path, precision: Precision) -> Iterator[str]:
    """Writes `path` and its data; yields a line after each stage, for progress."""
    config = checkpoint.config.vision
    with GraphBuilder(path, precision) as graph:
        side = config.image_size
        pixels = graph.input("pixel_values", TensorProto.FLOAT, ["batch", 3, side, side])
        x = _embed(graph, checkpoint, graph.op("Cast", pixels, to=element_type(precision.compute)))
        yield "patch embedding"
        for i in range(config.num_hidden_layers):
            x = _block(graph, checkpoint, x, f"{PREFIX}.blocks.{i}")
            yield f"block {i + 1}/{config.num_hidden_layers}"
        x = _layer_norm(graph, checkpoint, x, f"{PREFIX}.norm")
        x = _drop_cls(graph, x, config)
        graph.output("patches", x, TensorProto.FLOAT, ["batch", config.num_patches, config.hidden_size])
        graph.save()
    yield "saved"


def num_stages(config: VisionConfig) -> int:
    """How many lines `build_vision` yields."""
    return config.num_hidden_layers + 2


def _embed(graph: GraphBuilder, checkpoint: Checkpoint, pixels: str) -> str:
    """Patches through the convolution, CLS before them, positions added. The position table is resampled here, once:
    the antialiased bicubic resize has no ONNX operator."""
    config = checkpoint.config.vision
    name = f"{PREFIX}.patch_embed.proj"
    kernel = graph.weight(f"{name}.weight", checkpoint.array(f"{name}.weight"))
    bias = graph.weight(f"{name}.bias", checkpoint.array(f"{name}.bias"))
    patch = [config.patch_size, config.patch_size]
    x = graph.op("Conv", pixels, kernel, bias, name=name, kernel_shape=patch, strides=patch)  # (batch, hidden, g, g)
    flat = graph.constant("patches.shape", np.asarray([0, config.hidden_size, -1], dtype=np.int64))
    x = graph.op("Transpose", graph.op("Reshape", x, flat), perm=[0, 2, 1])  # (batch, patches, hidden)

    shell = load_module(checkpoint, PREFIX, lambda: VisionTower(config, blocks=()))
    positions = shell.positions().numpy()  # (1, 1 + patches, hidden)
    cls = shell.cls_token.numpy() + positions[:, :1]
    x = graph.op("Add", x, graph.weight(f"{PREFIX}.pos_embed", positions[:, 1:]))
    return graph.op("Concat", graph.over_batch(graph.weight(f"{PREFIX}.cls_token", cls), x), x, axis=1)


def _block(graph: GraphBuilder, checkpoint: Checkpoint, x: str, name: str) -> str:
    config = checkpoint.config.vision
    hidden = config.hidden_size
    q_bias, v_bias = checkpoint.array(f"{name}.attn.q_bias"), checkpoint.array(f"{name}.attn.v_bias")
    bias = np.concatenate([q_bias, np.zeros_like(q_bias), v_bias])  # keys have none

    qkv = graph.linear(x, checkpoint.array(f"{name}.attn.qkv.weight"), f"{name}.attn.qkv")
    q, k, v = graph.split(qkv, [hidden] * 3, f"{name}.attn.split")
    attended = graph.attention(q, k, v, bias, config.num_attention_heads, f"{name}.attn")
    attended = _linear(graph, checkpoint, attended, f"{name}.attn.proj")
    x = graph.op("Add", x, _layer_norm(graph, checkpoint, attended, f"{name}.norm1"))

    inner = graph.linear(x, checkpoint.array(f"{name}.mlp.fc1.weight"), f"{name}.mlp.fc1")
    inner_bias = graph.weight(f"{name}.mlp.fc1.bias", checkpoint.array(f"{name}.mlp.fc1.bias"))
    inner = graph.op("BiasGelu", inner, inner_bias)
    out = _linear(graph, checkpoint, inner, f"{name}.mlp.fc2")
    return graph.op("Add", x, _layer_norm(graph, checkpoint, out, f"{name}.norm2"))


def _linear(graph: GraphBuilder, checkpoint: Checkpoint, x: str, name: str) -> str:
    return graph.linear(x, checkpoint.array(f"{name}.weight"), name, checkpoint.array(f"{name}.bias"))


def _layer_norm(graph: GraphBuilder, checkpoint: Checkpoint, x: str, name: str) -> str:
    scale, bias = checkpoint.array(f"{name}.weight"), checkpoint.array(f"{name}.bias")
    return graph.layer_norm(x, scale, bias, checkpoint.config.vision.layer_norm_eps, name)


def _drop_cls(graph: GraphBuilder, x: str, config: VisionConfig) -> str:
    start, end, axis = (
        graph.constant(f"patches.{name}", np.asarray([value], dtype=np.int64))
        for name, value in (("start", 1), ("end", 1 + config.num_patches), ("axis", 1))
    )
    return graph.op("Slice", x, start, end, axis)
