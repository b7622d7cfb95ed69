"""Real files made wrong: by bytes, and by the parts of their form, so that some of it gets past the first check."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

from tests.fuzz.form import Form
from tests.fuzz.mutations.json_mutation import mutated_json
from tests.fuzz.mutations.message_mutation import mutated_message

LENGTH = struct.Struct("<Q")  # before a safetensors header
ODD_BYTES = (0, 1, 9, 10, 34, 92, 123, 127, 128, 192, 255)
ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(dice: Random, seeds: Sequence[bytes], form: Form) -> bytes:
    """One of `seeds` with a few mistakes in it, the same for the same state of `dice`."""
    data = dice.choice(seeds)
    if form is Form.BYTES or dice.random() < 0.2:
        return mutated_bytes(dice, data, seeds)
    match form:
        case Form.JSON:
            data = mutated_json(dice, data)
        case Form.LINES if data.startswith(b"{\n"):  # an object of many lines beside them
            data = mutated_json(dice, data)
        case Form.LINES:
            lines = data.splitlines(keepends=True)
            place = dice.randrange(len(lines)) if lines else 0
            lines[place : place + 1] = [mutated_json(dice, line) + b"\n" for line in lines[place : place + 1]]
            data = b"".join(lines)
        case Form.TENSORS:
            data = mutated_json(dice, data) if data.startswith(b"{") else _mutated_tensors(dice, data)
        case Form.MESSAGE:
            data = mutated_message(dice, data)
    return mutated_bytes(dice, data, seeds) if dice.random() < 0.1 else data


def mutated_bytes(dice: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 8))):
        _change(dice, changed, seeds)
    return bytes(changed)


def _change(dice: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    start = dice.randrange(len(data) + 1)
    end = min(len(data), start + dice.choice((1, 2, 4, 8, 64, len(data))))
    match dice.randrange(8):
        case 0 if start < len(data):
            data[start] ^= 1 << dice.randrange(8)
        case 1 if start < len(data):
            data[start] = dice.choice(ODD_BYTES)
        case 2:  # cut short
            del data[start:]
        case 3:
            del data[start:end]
        case 4:
            data[start:start] = data[start:end] * dice.choice((1, 2, 16))
        case 5:
            data[start:start] = dice.randbytes(dice.choice((1, 4, 32)))
        case 6:
            size = dice.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            number = dice.choice(ODD_NUMBERS) & ((1 << 8 * struct.calcsize(size)) - 1)
            data[start : start + struct.calcsize(size)] = struct.pack(size, number)
        case _:  # another file's middle or end
            other = dice.choice(seeds)
            data[start:] = other[dice.randrange(len(other) + 1) :]


def _mutated_tensors(dice: Random, data: bytes) -> bytes:
    length = int.from_bytes(data[: LENGTH.size], "little")
    header, rest = data[LENGTH.size : LENGTH.size + length], data[LENGTH.size + length :]
    header = mutated_json(dice, header)
    if dice.random() < 0.1:
        rest = rest[: dice.randrange(len(rest) + 1)]
    return LENGTH.pack(len(header)) + header + rest
