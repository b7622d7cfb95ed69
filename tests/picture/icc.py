"""Colour profiles, written down from the ICC specification: a matrix, a grey curve, a table of inks."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

D50, D65 = (0.9642, 1.0, 0.8249), (0.9505, 1.0, 1.0891)
PAPER = (0.80, 0.83, 0.66)  # which a picture on it takes for white
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # g, a, b, c, d of a parametric curve
# Red, green, blue in XYZ, adapted to D50: from the primaries of Display P3 and Adobe RGB (1998).
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def matrix_profile(colours: Sequence[Sequence[float]], curve: bytes, white: Sequence[float] = D50) -> bytes:
    """Three linear colours and one curve for all of them. `white`: the screen's own, as it was before adaptation."""
    tags = {name: _xyz(colour) for name, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colours, strict=True)}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve) | {b"wtpt": _xyz(white)})


def grey_profile(curve: bytes) -> bytes:
    return _profile(b"GRAY", {b"kTRC": curve})


def ink_profile() -> bytes:
    """Four inks: black takes all of the light, colours a quarter of L* each; between, in a straight line."""
    nodes = itertools.product((0, 1), repeat=4)
    table = bytes(value for *inks, black in nodes for value in (0 if black else 255 - 64 * sum(inks), 128, 128))
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += b"".join(_fixed(value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)) + ramp * 4 + table + ramp * 3
    return _profile(b"CMYK", {b"A2B0": lut, b"A2B1": lut, b"wtpt": _xyz(PAPER)}, b"Lab ", b"prtr")


def parametric(numbers: Sequence[float]) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, numbers))


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", device: bytes = b"mntr") -> bytes:
    name = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"wtpt": _xyz(D50)} | tags | {b"desc": name, b"cprt": b"text\0\0\0\0x\0"}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s", 128 + len(table) + len(body), 0x02400000, device, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return head + bytes(128 - len(head)) + table + body
