"""A picture's file and the XMP packet in it: taken out, and put in with every other byte as it was.

Sources: the XMP specification, part 3 (JPEG, PNG), and the WebP container specification.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from omnilmm_lite.caption.metadata.xmp import MAX_BYTES
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.kinds.kind import Kind
from omnilmm_lite.picture.kinds.signatures import kind_of

JPEG_NAME = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_MOST = 65533 - len(JPEG_NAME)
PNG_NAME = b"XML:com.adobe.xmp"
WEBP_XMP, WEBP_ALPHA = 0x04, 0x10  # flags of VP8X
TAKES = (Kind.JPEG, Kind.PNG, Kind.WEBP)


@dataclass(frozen=True)
class _Piece:
    """A segment or chunk: its name, and where in the file it and its body lie."""

    name: bytes
    begin: int
    body: int
    end_of_body: int
    end: int


def check_kind(data: bytes) -> Kind:
    """InputError where a file of this kind takes no packet here."""
    kind = kind_of(data)
    if kind not in TAKES:
        name = "this kind of file" if kind is None else kind.label
        raise InputError(f"picture: nothing is written into {name}, only into JPEG, PNG and WebP; take --xmp for it")
    return kind


def packet_of(data: bytes) -> bytes | None:
    """The packet in a JPEG, PNG or WebP; None where there is none, or the file is of another kind or damaged."""
    try:
        kind = check_kind(data)
        piece = _packet_piece(data, kind)
        return None if piece is None else _unpacked(data[piece.body : piece.end_of_body], kind)
    except (InputError, struct.error, IndexError, zlib.error):
        return None


def with_packet(data: bytes, packet: bytes) -> bytes:
    """The file with this packet in the place of its own, if it has one. InputError where that can't be."""
    kind = check_kind(data)
    put = {Kind.JPEG: _in_jpeg, Kind.PNG: _in_png, Kind.WEBP: _in_webp}[kind]
    try:
        changed = put(data, _packet_piece(data, kind), packet)
    except (struct.error, IndexError, StopIteration):
        changed = b""
    if packet_of(changed) != packet:
        raise InputError("picture: its parts can't be told apart, so nothing is written into it; save it anew")
    return changed


def _packet_piece(data: bytes, kind: Kind) -> _Piece | None:
    for piece in _pieces(data, kind):
        start = data[piece.body : piece.body + 40]
        if (
            (kind is Kind.JPEG and piece.name == b"\xe1" and start.startswith(JPEG_NAME))
            or (kind is Kind.PNG and piece.name == b"iTXt" and start.startswith(PNG_NAME + b"\0"))
            or (kind is Kind.WEBP and piece.name == b"XMP ")
        ):
            return piece
    return None


def _unpacked(body: bytes, kind: Kind) -> bytes | None:
    if kind is Kind.JPEG:
        return body[len(JPEG_NAME) :]
    if kind is Kind.WEBP:
        return body
    flags, rest = body[len(PNG_NAME) + 1 : len(PNG_NAME) + 3], body[len(PNG_NAME) + 3 :]
    _, _, rest = rest.partition(b"\0")  # its language
    _, _, text = rest.partition(b"\0")  # the keyword in it
    if not flags[0]:
        return text
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(text, MAX_BYTES)
    return None if unpacker.unconsumed_tail else found


def _pieces(data: bytes, kind: Kind) -> Iterator[_Piece]:
    if kind is Kind.JPEG:
        return _segments(data)
    return _chunks(data, 8, ">", len(data)) if kind is Kind.PNG else _chunks(data, 12, "<", _end_of_webp(data))


def _segments(data: bytes) -> Iterator[_Piece]:
    """Of a JPEG, up to the first scan."""
    at = 2
    while at < len(data):
        begin = at
        if data[at] != 0xFF:
            raise IndexError
        while data[at] == 0xFF:  # any number of fill bytes
            at += 1
        name = data[at : at + 1]
        (length,) = struct.unpack_from(">H", data, at + 1)
        end = at + 1 + length
        if length < 2 or end > len(data):
            raise IndexError
        yield _Piece(name, begin, at + 3, end, end)
        if name == b"\xda":
            return
        at = end


def _end_of_webp(data: bytes) -> int:
    """As its header says; what lies behind is no part of the picture."""
    (size,) = struct.unpack_from("<I", data, 4)
    return min(8 + int(size), len(data))


def _chunks(data: bytes, at: int, order: str, limit: int) -> Iterator[_Piece]:
    """Of a PNG (big endian, length in front of the name, a checksum behind) or of a WebP."""
    while at < limit:
        is_png = order == ">"
        length, name = struct.unpack_from(">I4s", data, at) if is_png else struct.unpack_from("<4sI", data, at)[::-1]
        end_of_body = at + 8 + length
        end = end_of_body + (4 if is_png else length % 2)
        if end_of_body > limit or (is_png and end > limit):
            raise IndexError
        yield _Piece(name, at, at + 8, end_of_body, min(end, limit))
        at = end


def _in_jpeg(data: bytes, old: _Piece | None, packet: bytes) -> bytes:
    if len(packet) > JPEG_MOST:
        raise InputError(f"picture: a JPEG holds {JPEG_MOST} bytes of XMP, this would be {len(packet)}; take --xmp")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(JPEG_NAME) + len(packet)) + JPEG_NAME + packet
    if old is not None:
        if len(segment) != old.end - old.begin and _is_behind_index(data, old):
            raise InputError(
                "picture: its XMP lies behind the index of its further pictures, which would lead nowhere; take --xmp"
            )
        return data[: old.begin] + segment + data[old.end :]
    at = 2
    for piece in _segments(data):
        if piece.name not in (b"\xe0", b"\xe1"):  # JFIF and EXIF have to come first
            break
        at = piece.end
    return data[:at] + segment + data[at:]


def _is_behind_index(data: bytes, packet: _Piece) -> bool:
    """CIPA DC-007: places of further pictures, counted from the index."""
    return any(
        piece.name == b"\xe2" and piece.begin < packet.begin and data[piece.body : piece.body + 4] == b"MPF\0"
        for piece in _segments(data)
    )


def _in_png(data: bytes, old: _Piece | None, packet: bytes) -> bytes:
    body = b"iTXt" + PNG_NAME + bytes(5) + packet
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header = next(_chunks(data, 8, ">", len(data)))
    begin, end = (header.end, header.end) if old is None else (old.begin, old.end)
    return data[:begin] + chunk + data[end:]


def _in_webp(data: bytes, old: _Piece | None, packet: bytes) -> bytes:
    chunk = b"XMP " + struct.pack("<I", len(packet)) + packet + bytes(len(packet) % 2)
    end = _end_of_webp(data)
    first = next(_chunks(data, 12, "<", end))
    body = data[12:end] if old is None else data[12 : old.begin] + data[old.end : end]
    if first.name == b"VP8X":
        body = body[:8] + bytes([body[8] | WEBP_XMP]) + body[9:]
    else:
        body = _webp_header(data, first) + body
    body += bytes(len(body) % 2) + chunk
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body + data[end:]


def _webp_header(data: bytes, first: _Piece) -> bytes:
    """The extended header that a simple file lacks."""
    flags = WEBP_XMP
    if first.name == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, first.body + 1)
        width, height = int(bits & 0x3FFF), int((bits >> 14) & 0x3FFF)  # both less one
        flags |= WEBP_ALPHA if bits >> 28 & 1 else 0
    elif first.name == b"VP8 ":
        width, height = (int(value & 0x3FFF) - 1 for value in struct.unpack_from("<HH", data, first.body + 6))
    else:
        raise IndexError
    if min(width, height) < 0:
        raise IndexError
    size = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size
