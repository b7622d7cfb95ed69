"""The decoder (Mistral) as ONNX: a graph for both prefill and decode, or for decode beside `export.graphs.prefill`.

    inputs_embeds          (batch, tokens, hidden) float32
    seqlens_k              (batch,) int32: tokens in each one's cache after this step, minus one
    total_sequence_length  () int32: tokens in the fullest cache after this step
    logits_rows            (rows,) int64: the positions among `tokens` whose logits are wanted
    past.{layer}.{key,value} / present.{layer}.{key,value}
                           (batch, num_key_value_heads, context, head_dim), the same buffers on both sides
    logits                 (batch, rows, vocab) float32

GroupQueryAttention does rotary positions, the sliding window and the write into the cache. q, k, v and gate, up are
one product each. Behind the last attention only the wanted rows go on, so a prompt pays the last MLP and lm_head once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from onnx import TensorProto

from export.graphs.graph import GraphBuilder, element_type
from export.reference.model import rope_tables
from export.weights.decoder_weights import CheckpointWeights as CheckpointWeights
from export.weights.decoder_weights import DecoderWeights as DecoderWeights
from export.weights.decoder_weights import stream_divisor
from export.weights.weight import QuantizedWeight, Weight
from omnilmm_lite.bundle.packing import FLOAT_BITS, Packing, head_row_multiple
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.formats import FP16, FP32, FP32_FROM_FP16, Precision

# Relative to the reference's largest logit; a quantized decoder is compared with its own dequantized weights.
# fp32: summation order. Weights stored in fp16: up to 5e-4 of themselves, at random. fp16: that for every activation.
# int8 activations (MatMulNBits at accuracy level 4): each group of a row is rounded to 1/127 of its largest value.
TOLERANCE = {FP32: 2e-4, FP32_FROM_FP16: 5e-3, FP16: 3e-2}
TOLERANCE_INT8_ACTIVATIONS = 1e-1

EMBEDDINGS = "inputs_embeds"


class Sublayers(Protocol):
    """The linear layers' half of the decoder: attention and MLP take and give (batch, tokens, hidden)."""

    def attention(self, graph: GraphBuilder, x: str, cache: list[str], layer: int) -> str: ...

    def mlp(self, graph: GraphBuilder, x: str, layer: int) -> str: ...

    def lm_head(self, graph: GraphBuilder, x: str) -> str:
        """(batch, rows, hidden) -> (batch, rows, vocab)"""


def build_decoder(
    config: DecoderConfig,
    weights: DecoderWeights,
    path: Path,
    precision: Precision,
    accuracy_level: int,
    *,
    target: Device = Device.CPU,
    packing: Packing = Packing.BLOCKWISE,
) -> Iterator[str]:
    """Writes `path` and its data; yields a line after each stage, for progress."""
    with GraphBuilder(path, precision, accuracy_level=accuracy_level) as graph:
        yield from build_layers(graph, config, weights, FusedSublayers(config, weights, target, packing))


def build_layers(
    graph: GraphBuilder, config: DecoderConfig, weights: DecoderWeights, sublayers: Sublayers
) -> Iterator[str]:
    """The graph around the sublayers: inputs, cache, residual stream, norms (from `weights`)."""
    embeddings = graph.input(EMBEDDINGS, TensorProto.FLOAT, ["batch", "tokens", config.hidden_size])
    rows = graph.input("logits_rows", TensorProto.INT64, ["rows"])
    cache = _cache_inputs(graph, config)
    x = graph.op("Cast", embeddings, to=element_type(graph.precision.compute))
    if (divisor := stream_divisor(weights)) != 1:
        x = graph.op("Mul", x, graph.weight("stream.scale", np.asarray(1 / divisor)))
    branch = ""  # the last sublayer's output, not yet added to x
    for i in range(config.num_hidden_layers):
        name = f"model.layers.{i}"
        x, normed = _add_norm(graph, config, weights, x, branch, f"{name}.input_layernorm")
        branch = sublayers.attention(graph, normed, cache, i)
        if i == config.num_hidden_layers - 1:
            x, branch = (graph.op("Gather", value, rows, axis=1) for value in (x, branch))  # (batch, rows, hidden)
        x, normed = _add_norm(graph, config, weights, x, branch, f"{name}.post_attention_layernorm")
        branch = sublayers.mlp(graph, normed, i)
        graph.seam()
        yield f"layer {i + 1}/{config.num_hidden_layers}"
    _, normed = _add_norm(graph, config, weights, x, branch, "model.norm")
    graph.output("logits", sublayers.lm_head(graph, normed), TensorProto.FLOAT, ["batch", "rows", config.vocab_size])
    graph.save()
    yield "saved"


def num_stages(config: DecoderConfig) -> int:
    """How many lines `build_decoder` yields."""
    return config.num_hidden_layers + 1


def _cache_inputs(graph: GraphBuilder, config: DecoderConfig) -> list[str]:
    """The operator's inputs behind the past: lengths and rotary tables. Also declares the cache's graph inputs."""
    for i in range(config.num_hidden_layers):
        for part in ("key", "value"):
            graph.input(f"past.{i}.{part}", element_type(graph.precision.compute), _cache_shape(config))
    cos, sin = rope_tables(config, torch.arange(config.max_position_embeddings))  # (positions, head_dim / 2)
    # not graph.weight: storing these narrower would move every rotary angle
    dtype = graph.precision.compute.numpy
    return [
        graph.input("seqlens_k", TensorProto.INT32, ["batch"]),
        graph.input("total_sequence_length", TensorProto.INT32, []),
        graph.constant("rope.cos", cos.numpy().astype(dtype)),
        graph.constant("rope.sin", sin.numpy().astype(dtype)),
    ]


def _cache_shape(config: DecoderConfig) -> Sequence[int | str]:
    return ["batch", config.num_key_value_heads, "context", config.head_dim]


def _add_norm(
    graph: GraphBuilder, config: DecoderConfig, weights: DecoderWeights, x: str, branch: str, name: str
) -> tuple[str, str]:
    """(x + branch, RMSNorm of it); without a branch yet, (x, RMSNorm of x)."""
    scale = graph.weight(f"{name}.weight", weights.array(f"{name}.weight"))
    eps = config.rms_norm_eps / stream_divisor(weights) ** 2
    if not branch:
        return x, graph.op("SimplifiedLayerNormalization", x, scale, name=name, axis=-1, epsilon=eps)
    normed, total = f"{name}.out", f"{name}.sum"
    outputs = [normed, "", "", total]
    graph.node("SkipSimplifiedLayerNormalization", [x, branch, scale], outputs, name, epsilon=eps)
    return total, normed


@dataclass(frozen=True)
class FusedSublayers:
    """q, k, v as one product, and gate, up as one; in floats or in MatMulNBits, as the weights are."""

    config: DecoderConfig
    weights: DecoderWeights
    target: Device
    packing: Packing

    def attention(self, graph: GraphBuilder, x: str, cache: list[str], layer: int) -> str:
        name = f"model.layers.{layer}.self_attn"
        qkv = stack([self.weights.linear(f"{name}.{part}_proj") for part in "qkv"])
        qkv_states = graph.linear(x, qkv, f"{name}.qkv_proj")  # (batch, tokens, q_dim + 2 kv_dim)
        attended = cached_attention(graph, self.config, qkv_states, cache, layer)
        return graph.linear(attended, self.weights.linear(f"{name}.o_proj"), f"{name}.o_proj")

    def mlp(self, graph: GraphBuilder, x: str, layer: int) -> str:
        name = f"model.layers.{layer}.mlp"
        gate_up = stack([self.weights.linear(f"{name}.{part}_proj") for part in ("gate", "up")])
        both = graph.linear(x, gate_up, f"{name}.gate_up_proj")
        gate, up = graph.split(both, [self.config.intermediate_size] * 2, f"{name}.split")
        gated = graph.op("Mul", graph.op("QuickGelu", gate, alpha=1.0), up)  # QuickGelu with alpha 1 is SiLU
        return graph.linear(gated, self.weights.linear(f"{name}.down_proj"), f"{name}.down_proj")

    def lm_head(self, graph: GraphBuilder, x: str) -> str:
        head = self.weights.linear("lm_head")
        bits = head.bits if isinstance(head, QuantizedWeight) else FLOAT_BITS
        multiple = head_row_multiple(bits, self.target, self.packing)
        if head.shape[0] % multiple == 0:
            return graph.linear(x, head, "lm_head")
        # 32009 rows would make CUDA write the whole weight out as fp16, token by token (docs/gpu-kernels.md)
        logits = graph.linear(x, pad_rows(head, multiple), "lm_head")  # (batch, rows, padded vocab)
        first, last, axis = (
            graph.constant(f"lm_head.{name}", np.asarray([value], dtype=np.int64))
            for name, value in (("first", 0), ("last", head.shape[0]), ("axis", 2))
        )
        return graph.op("Slice", logits, first, last, axis)


def cached_attention(graph: GraphBuilder, config: DecoderConfig, qkv: str, cache: list[str], layer: int) -> str:
    """qkv (batch, tokens, q_dim + 2 kv_dim), without positions -> (batch, tokens, q_dim). The cache gets keys and
    values."""
    name = f"model.layers.{layer}.self_attn"
    past = [f"past.{layer}.key", f"past.{layer}.value"]
    present = [f"present.{layer}.key", f"present.{layer}.value"]
    graph.node(
        "GroupQueryAttention",
        [qkv, "", "", *past, *cache],
        [f"{name}.out", *present],
        name,
        num_heads=config.num_attention_heads,
        kv_num_heads=config.num_key_value_heads,
        do_rotary=1,
        local_window_size=config.sliding_window or -1,
    )
    for output in present:
        graph.declare_output(output, element_type(graph.precision.compute), _cache_shape(config))
    return f"{name}.out"


def pad_rows(weight: Weight, multiple: int) -> Weight:
    """The weight (out, in) with rows of zeros appended until `multiple` divides the number of rows."""
    rows = ((0, -weight.shape[0] % multiple), (0, 0))
    if not isinstance(weight, QuantizedWeight):
        return np.pad(weight, rows)
    # a weight without zero points stays one: its new rows have the middle of the range as well
    middle = 1 << (weight.bits - 1)
    zero = middle if (weight.zeros == middle).all() else 0
    return dataclasses.replace(
        weight,
        codes=np.pad(weight.codes, rows),
        scales=np.pad(weight.scales, rows),
        zeros=np.pad(weight.zeros, rows, constant_values=zero),
    )


def stack(parts: list[Weight]) -> Weight:
    """Linear layers that share their input as one weight: their rows, (out, in) each, one below the other."""
    plain = [part for part in parts if not isinstance(part, QuantizedWeight)]
    if len(plain) == len(parts):
        return np.concatenate(plain)
    quantized = [part for part in parts if isinstance(part, QuantizedWeight)]
    if plain or len({(part.bits, part.group_size) for part in quantized}) > 1:
        raise OmniLMMError("layers that share their input must share their bits and group_size to be one product")
    return dataclasses.replace(
        quantized[0],
        codes=np.concatenate([part.codes for part in quantized]),
        scales=np.concatenate([part.scales for part in quantized]),
        zeros=np.concatenate([part.zeros for part in quantized]),
    )
