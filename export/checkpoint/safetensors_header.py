"""The header of a safetensors file, checked before the library maps the file.

The format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors' bytes back to back.
Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import parse_json_object, shown
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.regular_file import open_regular
from omnilmm_lite.keys import Shape

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000  # the library's own limit
MAX_RANK = 8
ITEM_SIZES = {"BF16": 2, "F16": 2, "F32": 4}


@dataclass(frozen=True)
class Entry:
    """One tensor of the header; `begin` and `end` count from the end of the header."""

    shape: Shape
    begin: int
    end: int


def read_header(path: Path) -> dict[str, Shape]:
    """name -> shape of every tensor; InputError if the library could read outside or beside what the header says."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            # Threat: a huge length makes the reader take gigabytes of memory, or take tensor bytes for the header.
            if size < LENGTH_BYTES or length > min(MAX_HEADER, size - LENGTH_BYTES):
                raise InputError(f"{path} is truncated or no safetensors file ({size} bytes); download it again")
            header = file.read(length)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    return check_header(header, size - LENGTH_BYTES - length, path)


def check_header(header: bytes, data_size: int, path: Path) -> dict[str, Shape]:
    """name -> shape of the tensors that `header` describes within `data_size` bytes; InputError if it's unsound."""
    # Threat: the format allows no other first byte; readers disagree on what blanks before it mean.
    if not header.startswith(b"{"):
        raise InputError(f"{path} is no safetensors file: its header doesn't start with '{{'")
    values = parse_json_object(header, f"{path}: its safetensors header")
    _check_metadata(values.pop("__metadata__", {}), path)
    entries = {name: _entry(value, f"{path}: tensor {printable(name)}") for name, value in values.items()}
    _check_layout(entries, data_size, path)
    return {name: entry.shape for name, entry in entries.items()}


def _check_metadata(metadata: Any, path: Path) -> None:
    # Threat: the library refuses other values with an error that names neither the file nor the reason.
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path}: __metadata__ of the safetensors header must map names to strings")


def _entry(value: Any, where: str) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{where} must have dtype, shape and data_offsets in the safetensors header, and nothing else")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    # Threat: integers and 8-bit floats are some quantized format's codes, not weights; they'd be taken at face value.
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise InputError(f"{where} has dtype {shown(dtype)}; bf16, fp16 or fp32 weights are needed")
    # Threat: negative, fractional or endless dimensions reach code that multiplies and allocates by them.
    if not _is_sizes(shape) or len(shape) > MAX_RANK:
        raise InputError(f"{where} has the shape {shown(shape)}, which is no list of sizes")
    # Threat: an end before the begin, or a begin before the data, reads the header or memory outside the map.
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError(f"{where} has the data_offsets {shown(offsets)}, which are no range")
    # Threat: a shape larger than its bytes reads into the next tensor, or past the file's end.
    held = offsets[1] - offsets[0]
    if math.prod(shape) * ITEM_SIZES[dtype] != held:
        raise InputError(f"{where}: the shape {shown(shape)} of {dtype} doesn't fill its {held} bytes")
    return Entry(tuple(shape), offsets[0], offsets[1])


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _check_layout(entries: Mapping[str, Entry], data_size: int, path: Path) -> None:
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        # Threat: an overlap gives two tensors the same bytes; a gap hides bytes nobody asked for.
        if entry.begin != end:
            kind = "overlaps the tensor before it" if entry.begin < end else "leaves a gap before it"
            raise InputError(f"{path}: tensor {printable(name)} {kind}; the file is damaged")
        end = entry.end
    # Threat: reading past the end of a mapped file kills the process (SIGBUS) halfway through.
    if end > data_size:
        raise InputError(f"{path} is truncated: {end - data_size} bytes are missing at its end; download it again")
    # Threat: bytes after the last tensor mean another header once belonged to this file.
    if end < data_size:
        raise InputError(f"{path} has {data_size - end} bytes that belong to no tensor; download it again")
