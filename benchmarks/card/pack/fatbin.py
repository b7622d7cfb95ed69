"""Keeps one GPU architecture's machine code in a CUDA library, so that it packs small. For measuring on a known card
only: the result is never shipped.

A library's .nv_fatbin section is a row of containers, one a translation unit, each with an entry for sm_75, sm_80, and
so on; the driver takes its own architecture's. Here a container keeps that entry alone, moved to its beginning, and its
header says so; the rest of its place becomes zeros, so no offset in the file changes. A container without such an
entry, or with nothing but kernels that our graphs can't call, gets a small valid entry of an architecture that the card
isn't: calling one fails with "no kernel image", it never computes anything wrong.

The layout isn't documented; it is as read in onnxruntime-gpu 1.31.1 (CUDA 13.0), and anything else is refused.
"""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import InputError

SECTION = ".nv_fatbin"
MAGIC, VERSION = 0xBA55ED50, 1
MACHINE_CODE = 2  # an entry's kind; 1 is PTX
ZSTANDARD = b"\x28\xb5\x2f\xfd"
KERNEL = re.compile(rb"\.text\.(_Z[A-Za-z0-9_$.]+)")
# Mixture of experts, grouped products, other attentions, training: nothing that a bundle's operators call.
UNUSED = re.compile(
    r"[Mm]o[eE](?![a-z])|MOE|moe_|_moe|[Ee]xpert|GroupProblemShape|GroupScheduleMode|RED_ADD|[Bb]eam(?=[A-Z]|S)|Dropout"
    r"|masked_multihead_attention|[Pp]agedAttention|SparseAttention|[Dd]eepseek|QOrder|LinearAttention|GatedDelta"
    r"|CausalConv|bfloat16"
)
EMPTY = "EmptyKernel"  # one that libraries add to every unit


@dataclass(frozen=True)
class Entry:
    """One architecture's code. `start`: its place in the file; `stored`: bytes where it is compressed, else 0."""

    start: int
    header: int
    padded: int
    stored: int
    unpacked: int
    architecture: int  # 90 for sm_90; 0 for what is no machine code

    @property
    def end(self) -> int:
        return self.start + self.header + self.padded


@dataclass(frozen=True)
class Container:
    """`length`: of its entries together."""

    start: int
    header: int
    length: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Slimmed:
    """Bytes of machine code that were kept, and left out."""

    kept: int
    unused: int
    others: int


def slim(library: Path, architecture: int, *, all_kernels: bool = False) -> Slimmed:
    """Rewrites the library in place. InputError where it has no such section, layout or architecture."""
    data = bytearray(library.read_bytes())
    found = list(containers(data, library.name))
    spare = _spare(data, found, architecture, library.name)
    kept = unused = others = 0
    for container in found:
        place, keep = container.start + container.header, b""
        for entry in container.entries:
            code = bytes(data[entry.start : entry.end])
            if entry.architecture != architecture:
                others += entry.padded
            elif all_kernels or not is_unused(kernels(code[entry.header :], entry)):
                keep += code
                kept += entry.padded
            else:
                unused += entry.padded
        if not keep:
            keep = spare if len(spare) <= container.length else bytes(data[place : place + container.length])
        data[place : place + container.length] = keep.ljust(container.length, b"\0")
        struct.pack_into("<Q", data, container.start + 8, len(keep))
    if not kept:
        raise InputError(f"{library.name}: it has no code for sm_{architecture}; name another architecture with --arch")
    library.write_bytes(data)
    return Slimmed(kept, unused, others)


def _spare(data: bytearray, found: list[Container], architecture: int, name: str) -> bytes:
    """The smallest entry that the card never takes, to stand in where nothing is left."""
    others = [
        entry for each in found for entry in each.entries if entry.architecture not in (0, architecture)
    ]  # fmt: skip
    if not others:
        raise InputError(f"{name}: it has no other architecture's code; it is small as it is")
    # newer than the card if there is one: code runs on later cards of its generation
    later = [entry for entry in others if entry.architecture // 10 > architecture // 10] or others
    smallest = min(later, key=lambda entry: entry.end - entry.start)
    return bytes(data[smallest.start : smallest.end])


def kernels(code: bytes, entry: Entry) -> list[str]:
    """The mangled names of an entry's kernels. InputError where unpacking them needs a package that isn't there."""
    raw = code[: entry.stored] if entry.stored else code
    if raw[:4] == ZSTANDARD:
        try:
            zstandard = importlib.import_module("zstandard")
        except ImportError:
            raise InputError("zstandard is not installed: install it, or give --all-kernels") from None
        raw = zstandard.ZstdDecompressor().decompress(raw, max_output_size=entry.unpacked)
    return sorted({name.decode() for name in KERNEL.findall(raw)})


def is_unused(names: list[str]) -> bool:
    """Whether every kernel is one that our graphs can't call."""
    named = [name for name in names if EMPTY not in name]
    return bool(named) and all(UNUSED.search(name) for name in named)


def containers(data: bytes | bytearray, name: str) -> Iterator[Container]:
    """Those of the library `name`, in their order. InputError for a layout that isn't the known one."""
    at, size = _section(data, name)
    end = at + size
    while at < end:
        magic, version, header, length = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC or version != VERSION:
            raise InputError(f"{name}: {SECTION} isn't laid out as known at {at:#x}; give --whole-library")
        yield Container(at, header, length, tuple(_entries(data, at + header, at + header + length)))
        at += header + length


def _entries(data: bytes | bytearray, at: int, end: int) -> Iterator[Entry]:
    while at < end:
        kind, _, header, padded = struct.unpack_from("<HHIQ", data, at)
        (stored,) = struct.unpack_from("<I", data, at + 16)
        (architecture,) = struct.unpack_from("<I", data, at + 28)
        (unpacked,) = struct.unpack_from("<Q", data, at + 56)
        yield Entry(at, header, padded, stored, unpacked, architecture if kind == MACHINE_CODE else 0)
        at += header + padded


def _section(data: bytes | bytearray, library: str) -> tuple[int, int]:
    """Offset and size in an ELF64 file. Source: the System V ABI, chapter 4."""
    if data[:5] != b"\x7fELF\x02":
        raise InputError(f"{library}: this is no 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        start = strings + name
        if bytes(data[start : data.index(b"\0", start)]).decode() == SECTION:
            return offset, length
    raise InputError(f"{library}: it has no section {SECTION}: this is no CUDA library")
