"""Cameras' own words, against what Pillow was told to write."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.exif import MAX_LENGTH
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import prepare
from tests.picture.test_orientation import TEXT_AS_ORIENTATION
from tests.picture.test_reading import encoded, noise

SMALL = VisionConfig(image_size=28)


def block() -> Image.Exif:
    exif = Image.Exif()
    exif[271], exif[272], exif[315] = "Maker\0", "X100V", "two\nlines\x1b[31m"
    exif[270] = "x" * 5000
    camera = exif.get_ifd(0x8769)
    camera[0x829A], camera[0x829D], camera[0x8827] = IFDRational(1, 125), IFDRational(56, 10), 400
    camera[0x9286] = b"ASCII\0\0\0" + b"by hand"
    camera[0x927C] = bytes(500)  # the maker's own
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_fields_come_as_text(kind: str) -> None:
    exif = prepare(encoded(noise(20, 10), kind, exif=block().tobytes()), SMALL).exif
    assert (exif["Make"], exif["Model"]) == ("Maker", "X100V")
    assert (exif["ExposureTime"], exif["FNumber"], exif["ISOSpeedRatings"]) == ("1/125", "5.6", "400")
    assert exif["UserComment"] == "by hand" and "MakerNote" not in exif
    assert exif["Artist"] == "two lines\\x1b[31m"
    assert len(exif["ImageDescription"]) == MAX_LENGTH


@pytest.mark.parametrize("broken", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\x08\0\0\0", TEXT_AS_ORIENTATION, b""])
def test_a_broken_block_has_none(broken: bytes) -> None:
    data = encoded(noise(20, 10), "JPEG", exif=broken)
    assert set(prepare(data, SMALL).exif) <= {"Orientation"}


def test_the_other_process_says_the_same() -> None:
    data = encoded(noise(20, 10), "JPEG", exif=block())
    process = DecodingProcess()
    try:
        found = process.prepare(PictureFile(data), SMALL)
    finally:
        process.close()
    assert found.exif == prepare(data, SMALL).exif
    np.testing.assert_array_equal(found.pixels, prepare(data, SMALL).pixels)
