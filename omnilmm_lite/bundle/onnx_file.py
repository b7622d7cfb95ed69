"""The tensors of a finished graph, read from its .onnx file: what a bundle really holds, however it was made.

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
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME = 1, 2, 8

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# TensorProto.DataType: float, uint8, int8, uint16, int16, int32, int64, bool, float16, double, uint32, uint64, bfloat16
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
SCALES_INPUT = 2  # of MatMulNBits

Value = int | bytes


def read_graph(path: Path) -> tuple[TensorSize, ...]:
    """In the order in which they were written; InputError where the file is no ONNX graph."""
    try:
        graph = _only(path.read_bytes(), MODEL_GRAPH)
        parts = list(_fields(graph))
        widened, scales = _uses(_bytes(value) for number, value in parts if number == GRAPH_NODE)
        return tuple(_tensor(_bytes(value), widened, scales) for number, value in parts if number == GRAPH_INITIALIZER)
    except (ValueError, KeyError, IndexError):
        raise InputError(f"{path}: this is no ONNX graph that can be read; convert the checkpoint again") from None


def _uses(nodes: Iterator[bytes]) -> tuple[dict[str, int], set[str]]:
    """Tensor -> bytes an element once a Cast has widened it; the tensors that are MatMulNBits' scales."""
    widened, scales = {}, set()
    for node in nodes:
        fields = list(_fields(node))
        inputs = [_text(value) for number, value in fields if number == NODE_INPUT]
        op_type = next((_text(value) for number, value in fields if number == NODE_OP_TYPE), "")
        if op_type == "MatMulNBits":
            scales.add(inputs[SCALES_INPUT])
        elif op_type == "Cast":
            attributes = [dict(_fields(_bytes(value))) for number, value in fields if number == NODE_ATTRIBUTE]
            target = next(each[ATTRIBUTE_INT] for each in attributes if each.get(ATTRIBUTE_NAME) == b"to")
            widened[inputs[0]] = ITEM_BYTES[_int(target)]
    return widened, scales


def _tensor(message: bytes, widened: dict[str, int], scales: set[str]) -> TensorSize:
    dims, kind, name = [], 0, ""
    for number, value in _fields(message):
        if number == TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else list(_varints(value))  # packed or not
        elif number == TENSOR_TYPE:
            kind = _int(value)
        elif number == TENSOR_NAME:
            name = _text(value)
    count, item = math.prod(dims), ITEM_BYTES[kind]
    role = Role.GROUP_SCALES if name in scales else Role.PLAIN
    return TensorSize(name, count * item, count * widened.get(name, item), role)


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
