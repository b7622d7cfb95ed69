"""The decoder for prompts, in 8-bit integers: several times as fast with many tokens as 4-bit weights are, on a CPU.

The same inputs and outputs as `export.graphs.decoder`, the same cache, the same weights: what 4 bits stand for is
rounded once more, to 8 bits each output channel. Made from the checkpoint's weights instead, prompts would come nearer
to the original, and answers were measured to get worse: GPTQ fits weights to a cache written by its own
(docs/performance.md). Rotation in blocks keeps loud channels from costing the others their resolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from export.graphs.decoder import EMBEDDINGS, DecoderWeights, build_layers, cached_attention
from export.graphs.graph import GraphBuilder
from export.graphs.int8_layers import column, int8_linear, int8_product, round_rows
from export.weights.int8 import SYMMETRIC, Int8Linear, Int8Weight
from export.weights.weight import QuantizedWeight
from omnilmm_lite.bundle.layout import STREAM_ROTATION, widest_block
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.formats import Precision

# Largest difference of a layer's output to the same integers in torch, relative to its largest value: an activation
# that lies between two codes may be rounded to either.
TOLERANCE = 1e-2


def build_prefill(config: DecoderConfig, weights: DecoderWeights, path: Path, precision: Precision) -> Iterator[str]:
    """Writes `path` and its data; yields as many lines as `export.graphs.decoder.build_decoder`."""
    with GraphBuilder(path, precision) as graph:
        yield from build_layers(graph, config, weights, Int8Sublayers(config, weights))


def int8_layer(weights: DecoderWeights, name: str) -> Int8Linear:
    """One linear layer of the decoder as the graph computes it."""
    weight = weights.linear(name)
    dense = weight.dequantize() if isinstance(weight, QuantizedWeight) else weight
    return Int8Linear.round(torch.from_numpy(dense), rotation=widest_block(dense.shape[1], STREAM_ROTATION))


@dataclass(frozen=True)
class Int8Sublayers:
    config: DecoderConfig
    weights: DecoderWeights

    def attention(self, graph: GraphBuilder, x: str, cache: list[str], layer: int) -> str:
        name = f"model.layers.{layer}.self_attn"
        config = self.config
        qkv = _stack([int8_layer(self.weights, f"{name}.{part}_proj") for part in "qkv"])
        states = int8_linear(graph, _rows(graph, x, config.hidden_size), qkv, f"{name}.qkv_proj")
        attended = cached_attention(graph, config, _sequence(graph, states, qkv.weight), cache, layer)
        o_proj = int8_layer(self.weights, f"{name}.o_proj")
        out = int8_linear(graph, _rows(graph, attended, config.q_dim), o_proj, f"{name}.o_proj")
        return _sequence(graph, out, o_proj.weight)

    def mlp(self, graph: GraphBuilder, x: str, layer: int) -> str:
        """gate and up share their rounded input. up is left without its rows' scale, which down's rounding doesn't see
        and down's output takes up: one pass less over the widest activations."""
        name = f"model.layers.{layer}.mlp"
        gate_proj, up_proj, down_proj = (
            int8_layer(self.weights, f"{name}.{part}_proj") for part in ("gate", "up", "down")
        )
        rows = round_rows(graph, _rows(graph, x, self.config.hidden_size), SYMMETRIC, gate_proj.rotation, f"{name}.in")
        scale = column(graph, rows.scale)  # (tokens, 1)
        gate = graph.op("Mul", int8_product(graph, rows, gate_proj.weight, f"{name}.gate_proj"), scale)
        up = int8_product(graph, rows, up_proj.weight, f"{name}.up_proj")
        gated = graph.op("Mul", graph.op("QuickGelu", gate, alpha=1.0), up)  # (tokens, intermediate)
        inner = round_rows(graph, gated, SYMMETRIC, down_proj.rotation, f"{name}.inner")
        out_scale = graph.op("Mul", column(graph, inner.scale), scale)
        out = graph.op("Mul", int8_product(graph, inner, down_proj.weight, f"{name}.down_proj"), out_scale)
        return _sequence(graph, out, down_proj.weight)

    def lm_head(self, graph: GraphBuilder, x: str) -> str:
        """In int8 as well, although it has one row: 4- and 8-bit products are slow unless they are packed at loading,
        and this graph's weights are to stay in their file."""
        head = int8_layer(self.weights, "lm_head")
        logits = int8_linear(graph, _rows(graph, x, self.config.hidden_size), head, "lm_head")
        return _sequence(graph, logits, head.weight)


def _stack(layers: list[Int8Linear]) -> Int8Linear:
    """Layers that share their input, as one."""
    codes = torch.cat([layer.weight.codes for layer in layers])
    scale = torch.cat([layer.weight.scale for layer in layers])
    return Int8Linear(Int8Weight(codes, scale), layers[0].grid, layers[0].rotation)


def _rows(graph: GraphBuilder, x: str, width: int) -> str:
    """(batch, tokens, width) -> (batch * tokens, width)"""
    return graph.reshape(x, [-1, width])


def _sequence(graph: GraphBuilder, x: str, weight: Int8Weight) -> str:
    """(batch * tokens, width) -> (batch, tokens, width)"""
    return graph.to_batch(x, len(weight.codes), EMBEDDINGS)
