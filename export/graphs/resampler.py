"""The perceiver resampler as ONNX: patches in, the decoder's image tokens out.

    patches  (batch, patches, kv_dim) float32
    features (batch, queries, hidden) float32

What doesn't depend on the picture is computed here, once: the projected queries, and what the key positions
contribute to the keys. Keys and values are then one product over kv, since values carry no positions.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from onnx import TensorProto

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.graph import GraphBuilder, element_type
from export.reference.layerwise import load_module
from export.reference.model import Resampler
from omnilmm_lite.formats import FP16, FP32, FP32_FROM_FP16, Precision

# Relative to the reference's largest value: one attention and four products, so fp32 only pays for summation order,
# fp16 storage for weights that are off by up to 5e-4 of themselves, and fp16 for activations likewise.
TOLERANCE = {FP32: 2e-4, FP32_FROM_FP16: 2e-3, FP16: 1e-2}

PREFIX = "model.resampler"


@torch.inference_mode()
def build_resampler(checkpoint: Checkpoint, path: Path, precision: Precision) -> None:
    """Writes `path` and its data."""
    config, vision = checkpoint.config.resampler, checkpoint.config.vision
    reference = load_module(checkpoint, PREFIX, lambda: Resampler(config, vision.grid))
    attention = reference.attn
    width = config.hidden_size
    q_weight, k_weight, v_weight = attention.in_proj_weight.chunk(3)
    q_bias, k_bias, v_bias = attention.in_proj_bias.chunk(3)
    queries = F.linear(reference.ln_q(reference.query) + reference.pos_embed, q_weight, q_bias)  # (queries, hidden)
    key_offset = F.linear(reference.key_positions(), k_weight, k_bias)  # (patches, hidden)

    with GraphBuilder(path, precision) as graph:
        patches = graph.input("patches", TensorProto.FLOAT, ["batch", vision.num_patches, config.kv_dim])
        x = graph.op("Cast", patches, to=element_type(precision.compute))
        kv = graph.linear(x, reference.kv_proj.weight.numpy(), f"{PREFIX}.kv_proj")
        kv = _layer_norm(graph, reference.ln_kv, kv, f"{PREFIX}.ln_kv")
        both = graph.linear(kv, torch.cat([k_weight, v_weight]).numpy(), f"{PREFIX}.attn.in_proj")
        key, value = graph.split(both, [width, width], f"{PREFIX}.attn.split")
        key = graph.op("Add", key, graph.weight(f"{PREFIX}.attn.key_offset", key_offset.numpy()))
        value = graph.op("Add", value, graph.weight(f"{PREFIX}.attn.value_bias", v_bias.numpy()))
        query = graph.over_batch(graph.weight(f"{PREFIX}.queries", queries.numpy()[None]), x)
        x = graph.attention(query, key, value, None, config.num_attention_heads, f"{PREFIX}.attn")
        out_proj = attention.out_proj
        x = graph.linear(x, out_proj.weight.numpy(), f"{PREFIX}.attn.out_proj", out_proj.bias.numpy())
        x = _layer_norm(graph, reference.ln_post, x, f"{PREFIX}.ln_post")
        x = graph.linear(x, reference.proj.T.numpy(), f"{PREFIX}.proj")
        graph.output("features", x, TensorProto.FLOAT, ["batch", config.num_queries, width])
        graph.save()


def _layer_norm(graph: GraphBuilder, norm: torch.nn.LayerNorm, x: str, name: str) -> str:
    return graph.layer_norm(x, norm.weight.numpy(), norm.bias.numpy(), norm.eps, name)
