"""Protobuf's encoding, as much of it as ONNX uses: messages to fields, strictly.

Whoever reads the same bytes after us must find the same things in them, so nothing is passed over: a field that isn't
asked for, or stands twice where it has one value, is an error. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TypeAlias, TypeVar

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
INT64 = 1 << 63

Value: TypeAlias = int | bytes
Message: TypeAlias = Mapping[int, list[Value]]
T = TypeVar("T")


def parse(message: bytes, known: frozenset[int]) -> Message:
    """Field number -> its values in their order; ValueError, KeyError or IndexError where one isn't `known`, or where
    it is no message."""
    found: dict[int, list[Value]] = {number: [] for number in known}
    for number, value in fields(message):
        found[number].append(value)
    return found


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field: numbers as int, all else as bytes. Errors as of `parse`."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        kind = key & 7
        if kind == BYTES:
            length = message[position]  # in one byte, mostly
            position += 1
            if length >= 0x80:
                length, position = _varint(message, position - 1)
        elif kind == VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        else:
            length = {FIXED64: 8, FIXED32: 4}[kind]
        begin, position = position, position + length
        if position > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, message[begin:position]


def messages(values: list[Value]) -> list[bytes]:
    return [as_bytes(value) for value in values]


def texts(values: list[Value]) -> tuple[str, ...]:
    """ValueError where one isn't UTF-8."""
    return tuple(as_bytes(value).decode() for value in values)


def text(values: list[Value]) -> str:
    """Of a field that stands once or, empty, not at all."""
    return _single(texts(values), "")


def integer(values: list[Value]) -> int:
    """Likewise; signed, as ONNX's numbers are."""
    return _single(integers(values), 0)


def integers(values: list[Value]) -> tuple[int, ...]:
    """Of a field that may stand often, packed or not."""
    found = []
    for value in values:
        found += [value] if isinstance(value, int) else list(_varints(value))
    return tuple(number - 2 * INT64 if number >= INT64 else number for number in found)


def number(values: list[Value]) -> float:
    """Of a float field that stands once, or not at all."""
    (found,) = struct.unpack("<f", as_bytes(_single(tuple(values), bytes(4))))
    return float(found)


def as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message was expected")
    return value


def _single(values: tuple[T, ...], default: T) -> T:
    if len(values) > 1:
        raise ValueError("a field with one value stands twice")
    return values[0] if values else default


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """The number that begins at `position`, and where it ends; IndexError or ValueError where there is none."""
    value = message[position]
    if value < 0x80:
        return value, position + 1
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 2 * INT64:
                raise ValueError("a number of more than 64 bits")
            return value, position
    raise ValueError("a number without end")


def _varints(message: bytes) -> Iterator[int]:
    position = 0
    while position < len(message):
        value, position = _varint(message, position)
        yield value
