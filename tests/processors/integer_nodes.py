"""A bundle's integer nodes alone, each fed with what it was given in the whole graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.weights.weight import Array
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import import_onnxruntime, providers, session_options

TYPES = {  # of a node's inputs and outputs, in their order
    "QuantizeLinear": ((TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.UINT8), TensorProto.UINT8),
    "MatMulIntegerToFloat": ((TensorProto.UINT8,), TensorProto.FLOAT),
}


@dataclass(frozen=True)
class IntegerNodes:
    model: onnx.ModelProto
    feeds: dict[str, Array]  # what the nodes were given
    found: dict[str, Array]  # what they gave
    weights: dict[str, Array]


def integer_nodes(path: Path, inputs: Mapping[str, Array]) -> IntegerNodes:
    """Runs the graph at `path` on `inputs`, and notes down what goes in and out of its integer nodes."""
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in TYPES]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    types = {node.output[0]: TYPES[node.op_type][1] for node in nodes}
    given: dict[str, int] = {}
    for node in nodes:
        given |= {
            name: kind for name, kind in zip(node.input, TYPES[node.op_type][0], strict=False) if name not in constants
        }
    values = _run(model, given | types, inputs)
    inner = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for node in inner:  # each by itself: nothing that one gives is another's input
        for position, name in enumerate(node.input):
            if name in given:
                node.input[position] = f"in.{name}"
    used = {name for node in inner for name in node.input} & constants.keys()
    graph = helper.make_graph(
        inner,
        "integers",
        [_info(f"in.{name}", kind) for name, kind in given.items()],
        [_info(name, kind) for name, kind in types.items()],
        [constants[name] for name in sorted(used)],
    )
    own = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    weights = {name: numpy_helper.to_array(constants[name]) for name in used}
    feeds = {f"in.{name}": values[name] for name in given}
    return IntegerNodes(own, feeds, {name: values[name] for name in types}, weights)


def exact_product(node: onnx.NodeProto, nodes: IntegerNodes) -> Array:
    """What a MatMulIntegerToFloat of them must give, by numpy's 64-bit integers."""
    codes, weight, _, scale, zero, _ = node.input
    steps = nodes.feeds[codes].astype(np.int64) - nodes.weights[zero]
    product: Array = (steps @ nodes.weights[weight].astype(np.int64)).astype(np.float32) * nodes.weights[scale]
    return product


def _info(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def _run(model: onnx.ModelProto, wanted: Mapping[str, int], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Values inside the graph by name, those that are inputs as well."""
    opened = onnx.ModelProto.FromString(model.SerializeToString())
    del opened.graph.output[:]
    opened.graph.output.extend(_info(name, kind) for name, kind in wanted.items())
    ort = import_onnxruntime()
    session = ort.InferenceSession(opened.SerializeToString(), session_options(ort, 1), providers=providers(Device.CPU))
    names = list(wanted)
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
