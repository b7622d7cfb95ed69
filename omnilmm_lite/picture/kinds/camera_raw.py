"""Raw files of cameras that are TIFF by their first bytes: read as that, they would show a thumbnail.

Source: the directories of TIFF 6.0 and of TIFF/EP (ISO 12234-2), and the DNG specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from omnilmm_lite.picture.kinds.kind import Kind

MAX_ENTRIES = 1024  # of a directory
MAX_SUB_DIRECTORIES = 16

SUBFILE_TYPE, PHOTOMETRIC, MAKE, SUB_DIRECTORIES, DNG_VERSION = 254, 262, 271, 330, 50706
REDUCED = 1  # the bit of SUBFILE_TYPE that says "a smaller version of another picture"
SENSOR = (32803, 34892)  # PHOTOMETRIC: colour filter array, linear raw
_MAKERS = {b"NIKON": Kind.NEF, b"SONY": Kind.ARW, b"PENTAX": Kind.PEF, b"RICOH": Kind.PEF, b"SAMSUNG": Kind.SRW}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 13: 4}  # bytes of a value, by its type, of those that are looked at


@dataclass(frozen=True)
class _Entry:
    tag: int
    values: tuple[int, ...]
    text: bytes


def camera_raw(data: bytes | memoryview) -> Kind | None:
    """The kind of raw file that a TIFF is; None where it is a picture like others, or BigTIFF, or damaged."""
    if bytes(data[8:10]) == b"CR" and bytes(data[:2]) == b"II":
        return Kind.CR2
    try:
        return _looked_up(data)
    except (struct.error, ValueError):
        return None


def _looked_up(data: bytes | memoryview) -> Kind | None:
    order = "<" if bytes(data[:2]) == b"II" else ">"
    version, first = struct.unpack_from(order + "HI", data, 2)
    if version != 42:
        return None
    entries = {entry.tag: entry for entry in _directory(data, order, first)}
    if DNG_VERSION in entries:
        return Kind.DNG
    below = entries[SUB_DIRECTORIES].values[:MAX_SUB_DIRECTORIES] if SUB_DIRECTORIES in entries else ()
    directories = [entries, *({entry.tag: entry for entry in _directory(data, order, at)} for at in below)]
    of_sensor = any(set(SENSOR) & {*each[PHOTOMETRIC].values} for each in directories if PHOTOMETRIC in each)
    is_reduced = SUBFILE_TYPE in entries and any(value & REDUCED for value in entries[SUBFILE_TYPE].values)
    maker = entries[MAKE].text.upper() if MAKE in entries else b""
    known = next((kind for name, kind in _MAKERS.items() if maker.startswith(name)), None)
    if of_sensor or (is_reduced and below and known):
        return known or Kind.RAW
    return None


def _directory(data: bytes | memoryview, order: str, at: int) -> Iterator[_Entry]:
    (count,) = struct.unpack_from(order + "H", data, at)
    for number in range(min(count, MAX_ENTRIES)):
        where = at + 2 + 12 * number
        tag, kind, length = struct.unpack_from(order + "HHI", data, where)
        if tag not in (SUBFILE_TYPE, PHOTOMETRIC, MAKE, SUB_DIRECTORIES, DNG_VERSION) or kind not in _SIZES:
            continue
        length = min(length, 64)
        size = _SIZES[kind] * length
        start = where + 8 if size <= 4 else struct.unpack_from(order + "I", data, where + 8)[0]
        raw = bytes(data[start : start + size])
        letter = {1: "B", 2: "B", 3: "H", 4: "I", 13: "I"}[kind]
        yield _Entry(tag, struct.unpack(f"{order}{length}{letter}", raw), raw.rstrip(b"\0"))
