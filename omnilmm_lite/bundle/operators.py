"""The operators that a bundle's graphs may have: those that conversion writes, and what keeps them from growing.

A graph is a program that came with somebody's files. In these operators there are no loops, branches or functions, and
none makes a tensor by a number alone: where one could, below, its number has to come from a tensor that is there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from omnilmm_lite.bundle.onnx_file import Graph, Node
from omnilmm_lite.errors import InputError

CONTRIB = "com.microsoft"
OPSETS = {("", 21), (CONTRIB, 1)}  # domains and versions, all of them in each graph

# Domain and type -> the attributes that the operator may have. SimplifiedLayerNormalization lives in the standard
# domain for history's sake. Conv has no pads: with them a number alone would make it large.
OPERATORS: Mapping[tuple[str, str], frozenset[str]] = {
    ("", "Add"): frozenset(),
    ("", "Cast"): frozenset({"to"}),
    ("", "Concat"): frozenset({"axis"}),
    ("", "Conv"): frozenset({"kernel_shape", "strides"}),
    ("", "Div"): frozenset(),
    ("", "Expand"): frozenset(),
    ("", "Gather"): frozenset({"axis"}),
    ("", "LayerNormalization"): frozenset({"axis", "epsilon"}),
    ("", "MatMul"): frozenset(),
    ("", "Max"): frozenset(),
    ("", "Mul"): frozenset(),
    ("", "Neg"): frozenset(),
    ("", "QuantizeLinear"): frozenset({"axis"}),
    ("", "ReduceMax"): frozenset({"keepdims"}),
    ("", "ReduceMin"): frozenset({"keepdims"}),
    ("", "Reshape"): frozenset(),
    ("", "Shape"): frozenset({"start", "end"}),
    ("", "SimplifiedLayerNormalization"): frozenset({"axis", "epsilon"}),
    ("", "Slice"): frozenset(),
    ("", "Split"): frozenset({"axis"}),
    ("", "Transpose"): frozenset({"perm"}),
    ("", "Unsqueeze"): frozenset(),
    (CONTRIB, "BiasGelu"): frozenset(),
    (CONTRIB, "GroupQueryAttention"): frozenset({"num_heads", "kv_num_heads", "do_rotary", "local_window_size"}),
    (CONTRIB, "MatMulIntegerToFloat"): frozenset(),
    (CONTRIB, "MatMulNBits"): frozenset({"N", "K", "bits", "block_size", "accuracy_level"}),
    (CONTRIB, "MultiHeadAttention"): frozenset({"num_heads"}),
    (CONTRIB, "QuickGelu"): frozenset({"alpha"}),
    (CONTRIB, "SkipSimplifiedLayerNormalization"): frozenset({"epsilon"}),
}


def check_operators(graph: Graph, path: Path) -> None:
    """InputError names the first thing in the graph of the file at `path` that conversion never writes."""
    if set(graph.opsets) != OPSETS or len(graph.opsets) != len(OPSETS):
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in graph.opsets)
        raise _foreign(path, f"the operator sets {found or 'of no version'}")
    written_by = {output: node for node in graph.nodes for output in node.outputs}
    for node in graph.nodes:
        allowed = OPERATORS.get((node.domain, node.op_type))
        if allowed is None:
            raise _foreign(path, f"the operator {node.domain or 'ai.onnx'}.{node.op_type}")
        if further := node.attributes.keys() - allowed:
            raise _foreign(path, f"the attribute {min(further)} of {node.op_type}")
        if not _is_bounded(node, graph, written_by):
            raise _foreign(path, f"a node {node.op_type} whose size is a number of the file's own")


def _is_bounded(node: Node, graph: Graph, written_by: Mapping[str, Node]) -> bool:
    """Whether the node's output can't be made large by a number that stands in the file."""
    if node.op_type == "Expand":
        return len(node.inputs) == 2 and _is_shape(node.inputs[1], graph, written_by)
    if node.op_type == "Gather":  # of indices in the file, each would copy a row
        return len(node.inputs) == 2 and node.inputs[1] in {each.name for each in graph.inputs}
    if node.op_type == "MatMulNBits":
        codes = graph.initializers.get(node.inputs[1] if len(node.inputs) > 1 else "")
        sizes = [node.attributes.get(name) for name in ("N", "K", "bits")]
        numbers = [size for size in sizes if isinstance(size, int) and size > 0]
        return codes is not None and len(numbers) == len(sizes) and 8 * codes.stored == math.prod(numbers)
    return True


def _is_shape(name: str, graph: Graph, written_by: Mapping[str, Node]) -> bool:
    """Whether a tensor is another one's shape, or several and ones behind each other."""
    node = written_by.get(name)
    if node is None:
        tensor = graph.initializers.get(name)
        return tensor is not None and tensor.raw is not None and set(tensor.integers()) <= {1}
    if node.op_type == "Concat":  # not of another Concat: names may go in circles
        inner = {key: each for key, each in written_by.items() if each.op_type == "Shape"}
        return all(_is_shape(each, graph, inner) for each in node.inputs)
    return node.op_type == "Shape"


def _foreign(path: Path, what: str) -> InputError:
    return InputError(f"{path}: the graph has {what}, which no conversion writes; convert the checkpoint again")
