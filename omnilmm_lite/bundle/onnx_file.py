"""What a finished graph's .onnx file says: which tensors it holds, however it was made, and where their data lies.

Needs no onnx package: of protobuf's encoding, only what ONNX uses is read. Source: onnx/onnx.proto (field numbers) and
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from omnilmm_lite.bundle.tensor_size import Role, TensorSize
from omnilmm_lite.errors import InputError

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OP_TYPE, NODE_ATTRIBUTE = 1, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT = 1, 3
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_EXTERNAL_DATA = 1, 2, 8, 13
ENTRY_KEY, ENTRY_VALUE = 1, 2
LOCATION = b"location"  # the key of external_data's entry that names a file

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# TensorProto.DataType: float, uint8, int8, uint16, int16, int32, int64, bool, float16, double, uint32, uint64, bfloat16
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
NBITS_ROLES = {1: Role.GROUP_CODES, 2: Role.GROUP_SCALES}  # of MatMulNBits' inputs

Value = int | bytes


def read_graph(path: Path) -> tuple[TensorSize, ...]:
    """The graph's tensors in the order in which they were written; InputError where the file is no ONNX graph."""
    try:
        graph = _only(path.read_bytes(), MODEL_GRAPH)
        parts = list(_fields(graph))
        widened, roles = _uses(_bytes(value) for number, value in parts if number == GRAPH_NODE)
        return tuple(_tensor(_bytes(value), widened, roles) for number, value in parts if number == GRAPH_INITIALIZER)
    except (ValueError, KeyError, IndexError):
        raise InputError(f"{path}: this is no ONNX graph that can be read; convert the checkpoint again") from None


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
        except (ValueError, KeyError, IndexError):
            return None
        start = model.find(LOCATION, start + 1)
    return locations


def _location(model: bytes, start: int) -> str:
    """The file in an entry of external_data whose key begins at `start`; ValueError, KeyError or IndexError if none."""
    begin = start - 2  # of the entry: the key's number and length
    if begin < 2 or model[begin - 2] != TENSOR_EXTERNAL_DATA << 3 | BYTES:
        raise ValueError("no entry of external data")
    if (length := model[begin - 1]) > 0x7F:  # its first byte of several
        raise ValueError("an entry longer than a file's name makes it")
    key, (number, name) = _fields(model[begin : begin + length])
    if key != (ENTRY_KEY, LOCATION) or number != ENTRY_VALUE:
        raise ValueError("another entry, or one that goes on")
    return _bytes(name).decode()


def _uses(nodes: Iterator[bytes]) -> tuple[dict[str, int], dict[str, Role]]:
    """Tensor -> bytes an element once a Cast has widened it; tensor -> what it is to MatMulNBits."""
    widened: dict[str, int] = {}
    roles: dict[str, Role] = {}
    for node in nodes:
        fields = list(_fields(node))
        inputs = [_text(value) for number, value in fields if number == NODE_INPUT]
        op_type = next((_text(value) for number, value in fields if number == NODE_OP_TYPE), "")
        if op_type == "MatMulNBits":
            roles |= {inputs[place]: role for place, role in NBITS_ROLES.items()}
        elif op_type == "Cast":
            attributes = [dict(_fields(_bytes(value))) for number, value in fields if number == NODE_ATTRIBUTE]
            target = next(each[ATTRIBUTE_INT] for each in attributes if each.get(ATTRIBUTE_NAME) == b"to")
            widened[inputs[0]] = ITEM_BYTES[_int(target)]
    return widened, roles


def _tensor(message: bytes, widened: dict[str, int], roles: dict[str, Role]) -> TensorSize:
    dims, kind, name = [], 0, ""
    for number, value in _fields(message):
        if number == TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else list(_varints(value))  # packed or not
        elif number == TENSOR_TYPE:
            kind = _int(value)
        elif number == TENSOR_NAME:
            name = _text(value)
    count, item = math.prod(dims), ITEM_BYTES[kind]
    return TensorSize(name, count * item, count * widened.get(name, item), roles.get(name, Role.PLAIN))


# ---- protobuf ----


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field: numbers as int, all else as bytes. ValueError where it is no message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == VARINT:
            number, position = _varint(message, position)
            yield key >> 3, number
            continue
        if kind == BYTES:
            length, position = _varint(message, position)
        else:
            length = {FIXED64: 8, FIXED32: 4}[kind]
        end = position + length
        if end > len(message):
            raise ValueError("a field is longer than its message")
        yield key >> 3, message[position:end]
        position = end


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """The number that begins at `position`, and where it ends; IndexError or ValueError where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number without end")


def _varints(message: bytes) -> Iterator[int]:
    position = 0
    while position < len(message):
        value, position = _varint(message, position)
        yield value


def _only(message: bytes, wanted: int) -> bytes:
    (value,) = (value for number, value in _fields(message) if number == wanted)
    return _bytes(value)


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message was expected")
    return value


def _int(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number was expected")
    return value


def _text(value: Value) -> str:
    return _bytes(value).decode("utf-8", errors="replace")
