"""The graphs of omnilmm_lite/proof, written by the same builder as bundles: `python -m export.graphs.proof_graphs`.

The runtime has no onnx package, so they are part of it: omnilmm_lite/builtin/operators. They hold no weights; the proof
makes them and gives them to onnxruntime in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto

from export.graphs.decoder import cached_attention
from export.graphs.graph import GraphBuilder
from export.graphs.int8_layers import Int8Rows, int8_product, round_rows
from export.weights.int8 import AFTER_GELU, SYMMETRIC, Int8Weight
from export.weights.weight import Array, QuantizedWeight
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.formats import FP32
from omnilmm_lite.proof import attention, floats, int8, nbits, speed
from omnilmm_lite.proof.operators import OPERATORS, proof_graphs
from omnilmm_lite.proof.proof_graph import Operator

FLOAT, HALF, UINT8, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT32
Weights = Mapping[str, Array]


def write_graphs(folder: Path) -> None:
    """One file a graph."""
    for name, model in build_graphs().items():
        (folder / f"{name}.onnx").write_bytes(model)


def build_graphs() -> dict[str, bytes]:
    """Each graph by its name, serialized."""
    weights = {proof_graph.graph: proof_graph.weights for proof_graph in (*proof_graphs(), *speed.proof_graphs())}
    with tempfile.TemporaryDirectory() as folder:
        return {name: _build(Path(folder) / f"{name}.onnx", weights[name]) for name in BUILDERS}


def _build(path: Path, weights: Weights) -> bytes:
    level = 4 if path.stem == nbits.GRAPHS[Operator.NBITS_INT8] else 0
    with GraphBuilder(path, FP32, accuracy_level=level) as graph:
        BUILDERS[path.stem](graph, {name: np.zeros_like(array) for name, array in weights.items()})
        graph.save()
    model: bytes = without_weights(onnx.load(path, load_external_data=False), weights).SerializeToString()
    return model


def without_weights(model: onnx.ModelProto, weights: Weights) -> onnx.ModelProto:
    """Every tensor of `weights` becomes one that is still to be given: its name, shape and type alone."""
    for tensor in model.graph.initializer:
        if tensor.name not in weights:
            assert tensor.data_location != TensorProto.EXTERNAL, tensor.name
            continue
        array = weights[tensor.name]
        assert tuple(tensor.dims) == array.shape, tensor.name
        given = TensorProto(
            name=tensor.name, data_type=tensor.data_type, dims=array.shape, data_location=TensorProto.EXTERNAL
        )
        for key, value in {"location": "given", "offset": 0, "length": array.nbytes}.items():
            given.external_data.add(key=key, value=str(value))
        tensor.CopyFrom(given)
    assert set(weights) <= {tensor.name for tensor in model.graph.initializer}
    return model


# ---- one function a graph; `weights` are zeros of the proof's shapes ----


def _int8_product(graph: GraphBuilder, weights: Weights) -> None:
    for index, zero_point in enumerate(int8.ZERO_POINTS):
        _one_int8_product(graph, weights, index, zero_point)


def _one_int8_product(graph: GraphBuilder, weights: Weights, index: int, zero_point: int) -> None:
    codes = weights[f"product.{index}.codes"]
    x = graph.input(f"codes.{index}", UINT8, ["rows", len(codes)])
    zero = graph.shared_constant(f"int8.zero_point.{zero_point}", np.asarray([zero_point], np.uint8))
    weight = Int8Weight(torch.from_numpy(codes.T), torch.from_numpy(weights[f"product.{index}.scale"]))
    y = int8_product(graph, Int8Rows(x, "", zero), weight, f"product.{index}")
    graph.declare_output(y, FLOAT, ["rows", codes.shape[1]])


def _rounding(graph: GraphBuilder, weights: Weights) -> None:
    x = graph.input("x", FLOAT, ["rows", int8.ROUNDED_COLUMNS])
    for grid, name in ((SYMMETRIC, "symmetric"), (AFTER_GELU, "behind_gelu")):
        rows = round_rows(graph, x, grid, 1, name)
        graph.output(f"{name}.codes", rows.codes, UINT8, ["rows", int8.ROUNDED_COLUMNS])
        graph.output(f"{name}.scale", rows.scale, FLOAT, ["rows"])


def _nbits(graph: GraphBuilder, weights: Weights) -> None:
    x = graph.input("x", FLOAT, [1, "rows", nbits.COLUMNS])
    for form in nbits.FORMS:
        middle = 0 if form.zeros else 1 << (form.bits - 1)
        scales = weights[f"{form.name}.scales"]
        codes = np.zeros((nbits.OUTPUTS, nbits.COLUMNS), np.uint8)
        zeros = np.full(scales.shape, middle, np.uint8)
        y = graph.linear(x, QuantizedWeight(codes, scales, zeros, form.bits, form.group_size), form.name)
        graph.declare_output(y, FLOAT, [1, "rows", nbits.OUTPUTS])


def _float_products(graph: GraphBuilder, weights: Weights) -> None:
    for name in ("product", "rotation"):
        weight = weights[f"{name}.weight"]
        x = graph.input(name, FLOAT, ["rows", len(weight)])
        graph.declare_output(graph.linear(x, weight.T, name), FLOAT, ["rows", weight.shape[1]])


def _patches(graph: GraphBuilder, weights: Weights) -> None:
    """As export.graphs.vision embeds them."""
    pixels = graph.input("pixels", FLOAT, ["batch", 3, floats.SIDE, floats.SIDE])
    kernel, bias = (graph.weight(f"conv.{part}", weights[f"conv.{part}"]) for part in ("weight", "bias"))
    patch, grid = [floats.PATCH, floats.PATCH], floats.SIDE // floats.PATCH
    graph.op("Conv", pixels, kernel, bias, name="patches", kernel_shape=patch, strides=patch)
    graph.declare_output("patches", FLOAT, ["batch", floats.HIDDEN, grid, grid])


def _norms(graph: GraphBuilder, weights: Weights) -> None:
    """As export.graphs.vision's and export.graphs.decoder's."""
    shape = (1, "rows", floats.NORM_WIDTH)
    x, branch = graph.input("x", FLOAT, shape), graph.input("branch", FLOAT, shape)
    eps = floats.NORM_EPS
    graph.layer_norm(x, weights["layer_norm.weight"], weights["layer_norm.bias"], eps, "layer_norm")
    scale = graph.weight("rms_norm.weight", weights["rms_norm.weight"])
    graph.op("SimplifiedLayerNormalization", x, scale, name="rms_norm", axis=-1, epsilon=eps)
    scale = graph.weight("skip.weight", weights["skip.weight"])
    outputs = ["skip.normed", "", "", "skip.total"]
    graph.node("SkipSimplifiedLayerNormalization", [x, branch, scale], outputs, "skip", epsilon=eps)
    for name in ("layer_norm", "rms_norm", "skip.normed", "skip.total"):
        graph.declare_output(name, FLOAT, shape)


def _activations(graph: GraphBuilder, weights: Weights) -> None:
    bias = weights["gelu.bias"]
    x = graph.input("x", FLOAT, ["rows", len(bias)])
    graph.op("BiasGelu", x, graph.weight("gelu.bias", bias), name="gelu")
    graph.op("QuickGelu", x, name="silu", alpha=1.0)
    for name in ("gelu", "silu"):
        graph.declare_output(name, FLOAT, ["rows", len(bias)])


def _attention(graph: GraphBuilder, weights: Weights) -> None:
    width = attention.TOWER_HEADS * attention.TOWER_HEAD_DIM
    q, k, v = (graph.input(f"tower.{name}", FLOAT, [1, "tokens", width]) for name in "qkv")
    graph.attention(q, k, v, weights["tower.bias"], attention.TOWER_HEADS, "tower")
    graph.declare_output("tower", FLOAT, [1, "tokens", width])
    width = attention.RESAMPLER_HEADS * attention.RESAMPLER_HEAD_DIM
    query = graph.input("resampler.q", FLOAT, [1, "queries", width])
    k, v = (graph.input(f"resampler.{name}", FLOAT, [1, "keys", width]) for name in "kv")
    graph.attention(query, k, v, None, attention.RESAMPLER_HEADS, "resampler")
    graph.declare_output("resampler", FLOAT, [1, "queries", width])


def _cached_attention(graph: GraphBuilder, weights: Weights) -> None:
    config = DecoderConfig(
        num_attention_heads=attention.HEADS, num_key_value_heads=attention.KV_HEADS, head_dim=attention.HEAD_DIM
    )
    cache = [
        graph.input("seqlens_k", INT32, ["batch"]),
        graph.input("total_sequence_length", INT32, []),
        graph.constant("rope.cos", weights["rope.cos"]),
        graph.constant("rope.sin", weights["rope.sin"]),
    ]
    for layer, window in enumerate(attention.WINDOWS):
        for part in ("key", "value"):
            shape = ("batch", attention.KV_HEADS, "context", attention.HEAD_DIM)
            graph.input(f"past.{layer}.{part}", FLOAT, shape)
        qkv = graph.input(f"qkv.{layer}", FLOAT, ["batch", "tokens", config.q_dim + 2 * config.kv_dim])
        attended = cached_attention(graph, replace(config, sliding_window=window), qkv, cache, layer)
        graph.output(f"attended.{layer}", attended, FLOAT, ["batch", "tokens", config.q_dim])


def _formats(graph: GraphBuilder, weights: Weights) -> None:
    graph.output("widened", graph.input("halves", HALF, ["halves"]), FLOAT, ["halves"])
    a, b, c, d = (graph.input(name, FLOAT, ["values"]) for name in "abcd")
    graph.op("Add", a, b, name="sum")
    graph.op("Mul", c, d, name="product")
    for name in ("sum", "product"):
        graph.declare_output(name, FLOAT, ["values"])


def _speed_int8(graph: GraphBuilder, weights: Weights) -> None:
    _one_int8_product(graph, weights, 0, SYMMETRIC.zero_point)


def _speed_float(graph: GraphBuilder, weights: Weights) -> None:
    x = graph.input("x", FLOAT, ["rows", speed.COLUMNS])
    graph.declare_output(graph.linear(x, weights["product.weight"].T, "product"), FLOAT, ["rows", speed.OUTPUTS])


BUILDERS: dict[str, Callable[[GraphBuilder, Weights], None]] = {
    int8.GRAPH: _int8_product,
    int8.ROUNDING_GRAPH: _rounding,
    **dict.fromkeys(nbits.GRAPHS.values(), _nbits),
    floats.PRODUCTS_GRAPH: _float_products,
    floats.PATCHES_GRAPH: _patches,
    floats.NORMS_GRAPH: _norms,
    floats.ACTIVATIONS_GRAPH: _activations,
    floats.FORMATS_GRAPH: _formats,
    attention.GRAPH: _attention,
    attention.CACHED_GRAPH: _cached_attention,
    speed.INT8_GRAPH: _speed_int8,
    speed.FLOAT_GRAPH: _speed_float,
}


if __name__ == "__main__":
    write_graphs(OPERATORS)
