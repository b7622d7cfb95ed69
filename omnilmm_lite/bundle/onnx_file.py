"""What a finished graph's .onnx file says: its inputs, outputs, operators and tensors, and where their data lies.

Needs no onnx package, and reads no more of ONNX than conversion writes: what else there is, such as functions,
subgraphs or sparse tensors, makes the file unreadable. Source: onnx/onnx.proto (field numbers).
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from omnilmm_lite.bundle.protobuf import (
    BYTES,
    Value,
    as_bytes,
    fields,
    integer,
    integers,
    messages,
    number,
    parse,
    text,
    texts,
)
from omnilmm_lite.bundle.tensor_size import Role, TensorSize
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.regular_file import read_regular

MAX_BYTES = 4 << 20  # of a graph without its weights: several times the full model's largest

MODEL_IR_VERSION, MODEL_PRODUCER, MODEL_GRAPH, MODEL_OPSETS, MODEL_METADATA = 1, 2, 7, 8, 14
MODEL = frozenset({MODEL_IR_VERSION, MODEL_PRODUCER, MODEL_GRAPH, MODEL_OPSETS, MODEL_METADATA})
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
GRAPH = frozenset({GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT})
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 3, 4, 5, 7
NODE = frozenset({NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN})
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 1, 2, 3, 8, 20
ATTRIBUTE = frozenset({ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_TYPE})
TYPE_FLOAT, TYPE_INT, TYPE_INTS = 1, 2, 7  # AttributeProto.AttributeType
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL_DATA, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
TENSOR = frozenset({TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL_DATA, TENSOR_LOCATION})
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_TYPE_ITEM, TENSOR_TYPE_SHAPE, SHAPE_DIM, DIM_VALUE, DIM_PARAM = 1, 1, 2, 1, 1, 2
ENTRY_KEY, ENTRY_VALUE = 1, 2
PAIR = frozenset({1, 2})
LOCATION = b"location"  # the key of external_data's entry that names a file

# TensorProto.DataType: float, uint8, int8, uint16, int16, int32, int64, bool, float16, double, uint32, uint64, bfloat16
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
INT64 = 7
EXTERNAL = 1  # TensorProto.DataLocation
NBITS_ROLES = {1: Role.GROUP_CODES, 2: Role.GROUP_SCALES}  # of MatMulNBits' inputs
UNREADABLE = (ValueError, LookupError, struct.error)  # what the functions below raise

Attribute: TypeAlias = int | float | tuple[int, ...]


@dataclass(frozen=True)
class Node:
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]


@dataclass(frozen=True)
class Place:
    """Bytes of a file beside the graph's."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True)
class Initializer:
    """A tensor of the file. `raw`: its bytes where they stand in the .onnx file, else `place`: where they lie."""

    name: str
    item: int  # TensorProto.DataType
    shape: tuple[int, ...]
    raw: bytes | None
    place: Place | None

    @property
    def stored(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * ITEM_BYTES[self.item]

    def integers(self) -> tuple[int, ...]:
        """The numbers of an int64 tensor in the .onnx file; ValueError where it is none."""
        if self.raw is None or self.item != INT64:
            raise ValueError("no constant")
        return struct.unpack(f"<{len(self.raw) // 8}q", self.raw)


@dataclass(frozen=True)
class Surface:
    """An input or output: its elements' TensorProto.DataType, and its shape, in which free axes have names."""

    name: str
    item: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    opsets: tuple[tuple[str, int], ...]  # domain and version
    nodes: tuple[Node, ...]
    initializers: dict[str, Initializer]  # in the order in which they were written
    inputs: tuple[Surface, ...]
    outputs: tuple[Surface, ...]


def read_onnx(path: Path) -> bytes:
    """The file's bytes; InputError where it is no file, or far too large for a graph without its weights."""
    try:
        return read_regular(path, MAX_BYTES)
    except OSError:
        raise InputError(f"{path}: the graph can't be read; copy the bundle again") from None


def parse_graph(data: bytes, path: Path) -> Graph:
    """The graph in the bytes of the file at `path`; InputError where it isn't one as conversion writes them."""
    try:
        return _graph(data)
    except UNREADABLE:
        raise InputError(f"{path}: this is no ONNX graph that can be read; convert the checkpoint again") from None


def read_graph(path: Path) -> tuple[TensorSize, ...]:
    """The graph's tensors in the order in which they were written; InputError where the file is no ONNX graph."""
    graph = parse_graph(read_onnx(path), path)
    try:
        widened, roles = _uses(graph.nodes)
    except UNREADABLE:
        raise InputError(f"{path}: this is no ONNX graph that can be read; convert the checkpoint again") from None
    return tuple(_size(each, widened, roles) for each in graph.initializers.values())


def external_locations(model: bytes) -> set[str] | None:
    """The files, as the bytes of a model name them, that its tensors' data lies in; None where that isn't plain.

    Every place that has the word counts, wherever it stands, and has to be an entry as everybody writes it: a key and
    one value in this order, and short, so that no other reader can find another file there.
    """
    locations = set()
    start = model.find(LOCATION)
    while start >= 0:
        try:
            locations.add(_location(model, start))
        except UNREADABLE:
            return None
        start = model.find(LOCATION, start + 1)
    return locations


def _location(model: bytes, start: int) -> str:
    """The file in an entry of external_data whose key begins at `start`; an error of UNREADABLE if there is none."""
    begin = start - 2  # of the entry: the key's number and length
    if begin < 2 or model[begin - 2] != TENSOR_EXTERNAL_DATA << 3 | BYTES:
        raise ValueError("no entry of external data")
    if (length := model[begin - 1]) > 0x7F:  # its first byte of several
        raise ValueError("an entry longer than a file's name makes it")
    key, (field, name) = fields(model[begin : begin + length])
    if key != (ENTRY_KEY, LOCATION) or field != ENTRY_VALUE:
        raise ValueError("another entry, or one that goes on")
    return as_bytes(name).decode()


def _uses(nodes: tuple[Node, ...]) -> tuple[dict[str, int], dict[str, Role]]:
    """Tensor -> bytes an element once a Cast has widened it; tensor -> what it is to MatMulNBits."""
    widened: dict[str, int] = {}
    roles: dict[str, Role] = {}
    for node in nodes:
        if node.op_type == "MatMulNBits":
            roles |= {node.inputs[place]: role for place, role in NBITS_ROLES.items()}
        elif node.op_type == "Cast":
            target = node.attributes["to"]
            if not isinstance(target, int):
                raise ValueError("no element type")
            widened[node.inputs[0]] = ITEM_BYTES[target]
    return widened, roles


def _size(tensor: Initializer, widened: dict[str, int], roles: dict[str, Role]) -> TensorSize:
    count, item = math.prod(tensor.shape), ITEM_BYTES[tensor.item]
    role = roles.get(tensor.name, Role.PLAIN)
    return TensorSize(tensor.name, count * item, count * widened.get(tensor.name, item), role)


# ---- from messages ----


def _graph(data: bytes) -> Graph:
    model = parse(data, MODEL)
    (content,) = messages(model[MODEL_GRAPH])
    graph = parse(content, GRAPH)
    initializers = [_initializer(message) for message in messages(graph[GRAPH_INITIALIZER])]
    named = {each.name: each for each in initializers}
    if len(named) != len(initializers):
        raise ValueError("two tensors of one name")
    opsets = [parse(message, PAIR) for message in messages(model[MODEL_OPSETS])]
    return Graph(
        opsets=tuple((text(each[OPSET_DOMAIN]), integer(each[OPSET_VERSION])) for each in opsets),
        nodes=tuple(_node(message) for message in messages(graph[GRAPH_NODE])),
        initializers=named,
        inputs=tuple(_surface(message) for message in messages(graph[GRAPH_INPUT])),
        outputs=tuple(_surface(message) for message in messages(graph[GRAPH_OUTPUT])),
    )


def _node(message: bytes) -> Node:
    node = parse(message, NODE)
    attributes = [_attribute(each) for each in messages(node[NODE_ATTRIBUTE])]
    if len(dict(attributes)) != len(attributes):
        raise ValueError("an attribute is given twice")
    return Node(
        op_type=text(node[NODE_OP_TYPE]),
        domain=text(node[NODE_DOMAIN]),
        inputs=texts(node[NODE_INPUT]),
        outputs=texts(node[NODE_OUTPUT]),
        attributes=dict(attributes),
    )


def _attribute(message: bytes) -> tuple[str, Attribute]:
    attribute = parse(message, ATTRIBUTE)
    name, kind = text(attribute[ATTRIBUTE_NAME]), integer(attribute[ATTRIBUTE_TYPE])
    held = {TYPE_FLOAT: ATTRIBUTE_FLOAT, TYPE_INT: ATTRIBUTE_INT, TYPE_INTS: ATTRIBUTE_INTS}[kind]
    if any(attribute[field] for field in (ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS) if field != held):
        raise ValueError("an attribute of two types")
    values: list[Value] = attribute[held]
    if kind == TYPE_FLOAT:
        return name, number(values)
    return name, integer(values) if kind == TYPE_INT else integers(values)


def _initializer(message: bytes) -> Initializer:
    """ValueError where its bytes don't fill its shape."""
    tensor = parse(message, TENSOR)
    shape, item = integers(tensor[TENSOR_DIMS]), integer(tensor[TENSOR_TYPE])
    entries = [parse(each, PAIR) for each in messages(tensor[TENSOR_EXTERNAL_DATA])]
    place = _place({text(each[ENTRY_KEY]): text(each[ENTRY_VALUE]) for each in entries}) if entries else None
    raw = b"".join(messages(tensor[TENSOR_RAW]))
    if place is not None and (raw or integer(tensor[TENSOR_LOCATION]) != EXTERNAL):
        raise ValueError("bytes in two places")
    made = Initializer(text(tensor[TENSOR_NAME]), item, shape, None if place else raw, place)
    if any(size < 0 for size in shape) or made.stored != (place.length if place else len(raw)):
        raise ValueError("a shape that its bytes don't fill")
    return made


def _place(entry: dict[str, str]) -> Place:
    if entry.keys() != {"location", "offset", "length"}:
        raise ValueError("an entry of external data with other keys")
    if not all(re.fullmatch("[0-9]{1,18}", entry[key]) for key in ("offset", "length")):
        raise ValueError("no place in a file")
    return Place(entry["location"], int(entry["offset"]), int(entry["length"]))


def _surface(message: bytes) -> Surface:
    value = parse(message, PAIR)
    (kind,) = messages(value[VALUE_TYPE])
    (tensor,) = messages(parse(kind, frozenset({TYPE_TENSOR}))[TYPE_TENSOR])
    held = parse(tensor, PAIR)
    (shape,) = messages(held[TENSOR_TYPE_SHAPE])
    dims = [parse(each, PAIR) for each in messages(parse(shape, frozenset({SHAPE_DIM}))[SHAPE_DIM])]
    sizes = tuple(text(dim[DIM_PARAM]) if dim[DIM_PARAM] else integer(dim[DIM_VALUE]) for dim in dims)
    return Surface(text(value[VALUE_NAME]), integer(held[TENSOR_TYPE_ITEM]), sizes)
