"""What a camera wrote into a picture, as text under EXIF's own names."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Rational
from typing import Any

from PIL import ExifTags, Image

from omnilmm_lite.files.printable import printable

MAX_FIELDS = 200
MAX_LENGTH = 200  # characters of a field
_CAMERA = 0x8769  # the directory with exposure, lens and time
_COMMENT_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"\0" * 8: "utf-8"}

FIELD_NAMES = frozenset(ExifTags.TAGS.values())


def exif_fields(image: Image.Image) -> dict[str, str]:
    """The fields that are text or numbers, such as {"Model": "X100V", "FNumber": "5.6"}; empty where there are none,
    or the block is broken. A field is one line of MAX_LENGTH characters at most."""
    return _as_text(camera_entries(image))


def camera_entries(image: Image.Image) -> dict[int, Any]:
    """All entries as Pillow has them, by tag; what was read once it remembers."""
    try:
        block = image.getexif()
        return {**block, **block.get_ifd(_CAMERA)}
    except Exception:  # a broken block is no reason to refuse sound pixels
        return {}


def _as_text(entries: Mapping[int, Any]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for tag, value in entries.items():
        name = ExifTags.TAGS.get(tag)
        if name is None or len(fields) == MAX_FIELDS:
            continue
        text = " ".join(_text(value).split())
        if text:
            fields[name] = printable(text, MAX_LENGTH)
    return fields


def _text(value: Any) -> str:
    """Empty for what isn't for people."""
    if isinstance(value, str):
        return value.strip("\0 ")
    if isinstance(value, bytes):
        code = _COMMENT_CODES.get(value[:8])
        return "" if code is None else value[8:].decode(code, "replace").strip("\0 ")
    if isinstance(value, tuple):
        return ", ".join(map(_text, value[:16]))
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, Rational):  # Pillow's own sort
        numerator, denominator = int(value.numerator), int(value.denominator)
        if numerator == 1 and denominator > 1:
            return f"1/{denominator}"  # seconds, as on a camera's wheel
        return f"{float(value):.6g}" if denominator else ""
    return ""
