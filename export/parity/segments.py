"""Runs a written graph segment by segment on the CPU, so that checking it takes the memory of one block or layer.

onnxruntime loads a graph whole, and repacks many weights beside the ones it read. The builder marks where one block or
layer ends (`GraphBuilder.seam`); what lies between two seams becomes a graph of its own that reads its weights from the
same data file. The operators and their order are the whole graph's, so fp32 results are the same to the last bit.

In fp16 they may differ by that format's rounding: the CPU computes runs of operators in fp32, and a run ends at a seam.
What lies inside a run may so pass the largest fp16 number unseen. Run node by node, every value is rounded to fp16, as
it is on a card, and one that isn't finite is an error that names its node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.graphs.graph import SEAMS
from export.weights.weight import Array
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import graph_errors, import_onnxruntime, providers, session_options
from omnilmm_lite.errors import OmniLMMError

if TYPE_CHECKING:
    import onnxruntime

DATA_FOLDER = "session.model_external_initializers_file_folder_path"  # onnxruntime's key: where a graph in memory looks

ELEMENT_TYPES = {  # onnxruntime's words for what may cross a seam
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(int64)": TensorProto.INT64,
    "tensor(int32)": TensorProto.INT32,
    "tensor(uint8)": TensorProto.UINT8,
}


@dataclass(frozen=True)
class _Run:
    """A session over consecutive nodes."""

    session: onnxruntime.InferenceSession
    name: str
    finished: frozenset[str]  # inputs that nothing later reads


class GraphSegment:
    """Consecutive nodes of a graph as a session of their own, or one for each node, until the iteration over
    `open_segments` goes on."""

    def __init__(self, runs: list[_Run], inputs: Mapping[str, np.dtype[np.generic]], *, finite: bool) -> None:
        """`inputs`: what comes from outside. `finite`: infinity and NaN are errors."""
        self._runs = runs
        self._finite = finite
        self.inputs = dict(inputs)

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Runs once. `values` by name, without those that no later segment reads, and what this one adds to them:
        what later segments read, and outputs of the whole graph.

        OmniLMMError where a session can't run, and where a number isn't finite that ought to be.
        """
        held = dict(values)
        for each in self._runs:
            names = [item.name for item in each.session.get_outputs()]
            given = {item.name: held[item.name] for item in each.session.get_inputs()}
            with graph_errors(each.name):
                found = each.session.run(names, given)
            held = {name: value for name, value in held.items() if name not in each.finished}
            held |= zip(names, found, strict=True)
            if self._finite:
                _check_finite(each.name, found)
        return held

    def close(self) -> None:
        """Frees the weights, though the loop that was given the segment still holds it."""
        self._runs.clear()


def _check_finite(name: str, found: Sequence[Array]) -> None:
    for value in found:
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise OmniLMMError(
                f"{name}: gives infinity or NaN: numbers too large for {value.dtype}; take --preset cpu for this "
                "checkpoint, and report it"
            )


def run_segments(
    path: Path,
    feeds: Mapping[str, Array],
    on_segment: Callable[[], None] = lambda: None,
    *,
    node_by_node: bool = False,
) -> dict[str, Array]:
    """The graph's outputs by name. `on_segment` is called after each one. OmniLMMError where the graph can't run, and
    node by node where a number isn't finite."""
    values = dict(feeds)
    for segment in open_segments(path, node_by_node=node_by_node):
        values = segment.run(values)
        on_segment()
    return {name: value for name, value in values.items() if name not in feeds}


def open_segments(path: Path, *, node_by_node: bool = False) -> Iterator[GraphSegment]:
    """The graph at `path` in the order of its nodes, one segment at a time: loaded until the next is asked for.

    A graph without seams is one segment. OmniLMMError where onnxruntime can't load one.
    """
    model = onnx.load(path, load_external_data=False)
    types = {item.name: item for item in (*model.graph.input, *model.graph.output)}
    symbols = {dim.dim_param for item in types.values() for dim in item.type.tensor_type.shape.dim}
    for number, cuts in enumerate(_segments(model, path, node_by_node), start=1):
        runs: list[_Run] = []
        inputs: dict[str, np.dtype[np.generic]] = {}
        made: set[str] = set()
        for cut in cuts:
            name = f"{path.name}, segment {number}" + (f", node {cut.nodes[0].name}" if node_by_node else "")
            session = _open_session(_sub_model(model, cut, types), path.parent, name)
            for item in session.get_outputs():
                types.setdefault(item.name, _value_info(item, symbols))
            outside = (item for item in session.get_inputs() if item.name not in made)
            inputs |= {item.name: helper.tensor_dtype_to_np_dtype(_element_type(item)) for item in outside}
            made.update(cut.outputs)
            runs.append(_Run(session, name, cut.finished))
            del session  # the segment's alone, so that closing frees it
        segment = GraphSegment(runs, inputs, finite=node_by_node)
        try:
            yield segment
        finally:
            segment.close()


@dataclass(frozen=True)
class _Cut:
    """A run of nodes and the values that go in and out."""

    nodes: Sequence[onnx.NodeProto]
    inputs: Sequence[str]
    outputs: Sequence[str]
    finished: frozenset[str]


def _segments(model: onnx.ModelProto, path: Path, node_by_node: bool) -> list[list[_Cut]]:
    """One run of nodes for each segment, or all its nodes one by one."""
    nodes = list(model.graph.node)
    constants = {tensor.name for tensor in model.graph.initializer}
    needed = {item.name for item in model.graph.output}  # by the caller or by later nodes
    segments = []
    for start, end in reversed([*pairwise([0, *_seams(model, path), len(nodes)])]):
        bounds = range(start, end + 1) if node_by_node else (start, end)
        cuts = []
        for first, last in reversed([*pairwise(bounds)]):
            run = nodes[first:last]
            made = {name for node in run for name in node.output}
            read = dict.fromkeys(name for node in run for name in node.input if name)  # an ordered set
            inputs = [name for name in read if name not in made and name not in constants]
            outputs = [name for node in run for name in node.output if name in needed]
            cuts.append(_Cut(run, inputs, outputs, frozenset(inputs) - needed))
            needed.update(inputs)
        segments.append(cuts[::-1])
    return segments[::-1]


def _seams(model: onnx.ModelProto, path: Path) -> list[int]:
    """How many nodes lie before each seam."""
    text = {item.key: item.value for item in model.metadata_props}.get(SEAMS, "")
    seams = [int(number) for number in text.split()]
    bounds = [0, *seams, len(model.graph.node)]
    if any(start >= end for start, end in pairwise(bounds)):
        raise OmniLMMError(f"{path}: seams at {text} don't cut {len(model.graph.node)} nodes into runs")
    return seams


def _sub_model(model: onnx.ModelProto, cut: _Cut, types: Mapping[str, onnx.ValueInfoProto]) -> onnx.ModelProto:
    read = {name for node in cut.nodes for name in node.input}
    graph = helper.make_graph(
        cut.nodes,
        model.graph.name,
        [types[name] for name in cut.inputs],
        # what isn't an output of the whole graph has no type yet: onnxruntime infers it, and the next segment is told
        [types.get(name, onnx.ValueInfoProto(name=name)) for name in cut.outputs],
        initializer=[tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def _open_session(model: onnx.ModelProto, folder: Path, name: str) -> onnxruntime.InferenceSession:
    ort = import_onnxruntime()
    options = session_options(ort, None)
    options.add_session_config_entry(DATA_FOLDER, str(folder))
    with graph_errors(name):
        return ort.InferenceSession(model.SerializeToString(), options, providers=providers(Device.CPU))


def _value_info(item: onnxruntime.NodeArg, symbols: set[str]) -> onnx.ValueInfoProto:
    """What onnxruntime inferred, as an input of the next segment. Only names of axes that the graph itself gives are
    kept: onnxruntime makes some up, and those mean nothing in another graph."""
    shape = [dim if isinstance(dim, int) or dim in symbols else None for dim in item.shape]
    return helper.make_tensor_value_info(item.name, _element_type(item), shape or None)  # []: scalar or unknown


def _element_type(item: onnxruntime.NodeArg) -> int:
    try:
        return ELEMENT_TYPES[item.type]
    except KeyError:
        raise OmniLMMError(f"{item.name}: a {item.type} can't cross a seam; move the seam") from None
