"""Protobuf messages made wrong field by field, all lengths around them right."""

from __future__ import annotations

from random import Random

# Source: protobuf.dev/programming-guides/encoding
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
DEEPEST = 6
NUMBERS = (0, 1, 2, 127, 128, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
TEXTS = (b"", b"\xff\xfe", b"\xed\xa0\x80", b"\0", b"a" * 300, b"two\nlines", b"../x", b"\xe2\x96\x81", b"\x1b[31m")

Field = tuple[int, int, int | bytes]  # number, wire type, value


def mutated_message(dice: Random, data: bytes, depth: int = 0) -> bytes:
    """Bytes that are no message come back with another byte."""
    fields = _fields(data)
    if not fields:
        return dice.choice((*TEXTS, data[:-1], data + b"\0", bytes(dice.choices(range(256), k=len(data)))))
    place = dice.randrange(len(fields))
    number, kind, value = fields[place]
    if isinstance(value, bytes) and depth < DEEPEST and dice.random() < 0.75:
        fields[place] = number, kind, mutated_message(dice, value, depth + 1)
    else:
        match dice.randrange(6):
            case 0:
                del fields[place]
            case 1:
                fields.insert(dice.randrange(len(fields) + 1), fields[place])
            case 2:
                fields[place] = dice.choice((0, 1, 2, 3, 4, 5, 7, 8, 13, 20, 1 << 28)), kind, value
            case 3:
                fields[place] = number, VARINT, dice.choice(NUMBERS)
            case 4:
                fields[place] = number, BYTES, dice.choice(TEXTS)
            case _:
                other = dice.randrange(len(fields))
                fields[place], fields[other] = fields[other], fields[place]
    return b"".join(map(_written, fields))


def _fields(data: bytes) -> list[Field]:
    """Empty where it is no message."""
    fields: list[Field] = []
    at = 0
    try:
        while at < len(data):
            key, at = _read(data, at)
            kind = key & 7
            if kind == VARINT:
                value, at = _read(data, at)
                fields.append((key >> 3, kind, value))
                continue
            if kind == BYTES:
                size, at = _read(data, at)
            else:
                size = {FIXED64: 8, FIXED32: 4}[kind]
            if at + size > len(data):
                return []
            fields.append((key >> 3, kind, data[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return []
    return fields


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _written(field: Field) -> bytes:
    number, kind, value = field
    head = _varint(number << 3 | kind)
    if isinstance(value, int):
        return head + _varint(value)
    return head + (_varint(len(value)) if kind == BYTES else b"") + value


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*written, value))
