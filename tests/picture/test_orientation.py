"""Photographs held in any way come out upright."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from omnilmm_lite.picture.reading import load_image, pixel_hash
from tests.picture.test_reading import BLUE, GREEN, RED, Pixels, encoded, noise, pixels


def held(orientation: int) -> Image.Image:
    """What a camera stores for an upright picture, written down from the EXIF standard's table of rows and columns."""
    upright: Pixels = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20], upright[:12, 20:], upright[12:, :20] = RED, GREEN, BLUE
    columns = upright.swapaxes(0, 1)  # rows are the picture's columns
    stored = {
        1: upright,  # row 0 is the top, column 0 the left side
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: columns,  # row 0 is the left side, column 0 the top
        6: columns[::-1],  # right, top
        7: columns[::-1, ::-1],  # right, bottom
        8: columns[:, ::-1],  # left, bottom
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(stored))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(held(orientation), kind, exif=exif, **options)
    image = load_image(data)
    assert image.size == (40, 24)
    for where, colour in {(5, 5): RED, (35, 5): GREEN, (5, 20): BLUE, (35, 20): (0, 0, 0)}.items():
        np.testing.assert_allclose(pixels(image)[where[1], where[0]], colour, atol=3)
    assert pixel_hash(load_image(image)) == pixel_hash(image)  # nothing is turned twice
    assert pixel_hash(load_image(Image.open(io.BytesIO(data)))) == pixel_hash(image)


TEXT_AS_ORIENTATION = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02x\0\0\0"


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\x08\0\0\0", TEXT_AS_ORIENTATION])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_ignored(kind: str, exif: bytes) -> None:
    assert load_image(encoded(noise(20, 10), kind, exif=exif)).size == (20, 10)


def test_an_odd_entry_beside_the_orientation_changes_nothing() -> None:
    """The maker's name (271) as a float (type 11), which Pillow reads and can't write."""
    name = struct.pack("<HHIf", 271, 11, 1, 1.5)
    orientation = struct.pack("<HHIHH", 274, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + name + orientation + bytes(4)
    with Image.open(io.BytesIO(encoded(noise(20, 10), "JPEG", exif=exif))) as image, pytest.raises(AttributeError):
        image.getexif().tobytes()
    assert load_image(encoded(noise(20, 10), "JPEG", exif=exif)).size == (10, 20)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_orientation_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[274] = value
    assert load_image(encoded(noise(20, 10), "PNG", exif=exif)).size == (20, 10)
