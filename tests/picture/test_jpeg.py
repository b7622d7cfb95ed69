"""JPEGs that would take long, or much memory."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from omnilmm_lite.picture.reading import MAX_PIXELS, MAX_SCANNED_PIXELS, MAX_SCANS, load_image
from tests.picture.test_reading import encoded, noise, photograph, pixels, refusal


def scans(data: bytes) -> int:
    return data.count(b"\xff\xda")


def repeated_scan(image: Image.Image, times: int) -> bytes:
    """A progressive JPEG whose last scan comes `times` more; decoders go through each of them."""
    data = encoded(image, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * times + data[-2:]


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = repeated_scan(Image.new("RGB", (4000, 4000), "red"), 1500)
    assert len(file) < 200_000

    def fail(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fail)
    assert "1510 scans" in refusal(file)


@pytest.mark.parametrize(("side", "times", "taken"), [(60, 190, True), (60, 191, False), (4000, 120, True)])
def test_scans_count_by_their_pixels(side: int, times: int, taken: bool) -> None:
    file = repeated_scan(Image.new("RGB", (side, side), "red"), times)
    assert scans(file) == 10 + times
    if taken:
        load_image(file)
    else:
        refusal(file)
    assert "scans" in refusal(repeated_scan(Image.new("RGB", (4000, 4000)), 180))


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_sound_progressive_jpegs_are_far_from_the_bounds(quality: int) -> None:
    file = encoded(photograph(), "JPEG", progressive=True, quality=quality, optimize=True)
    assert scans(file) <= MAX_SCANS // 10 and scans(file) * MAX_PIXELS < MAX_SCANNED_PIXELS
    np.testing.assert_array_equal(pixels(load_image(file)), pixels(Image.open(io.BytesIO(file))))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(("width", "height", "halved"), [(4096, 4100, True), (4095, 4600, False), (4600, 3000, False)])
def test_a_large_jpeg_is_decoded_at_half_its_size(width: int, height: int, halved: bool, grey: bool) -> None:
    """What the tower sees of it: photographs move by 2 of 255 levels, which noise on top makes 3."""
    large = photograph().resize((width, height), Image.Resampling.BICUBIC)
    image = Image.blend(large, noise(width, height), 0.1).convert("L" if grey else "RGB")
    file = encoded(image, "JPEG", quality=90)
    found = load_image(file)
    assert found.size == ((width // 2, height // 2) if halved else (width, height))
    whole = Image.open(io.BytesIO(file)).convert("RGB")
    small = [each.resize((448, 448), Image.Resampling.BICUBIC) for each in (found, whole)]
    difference = np.abs(pixels(small[0]).astype(int) - pixels(small[1]).astype(int))
    assert difference.max() <= (3 if halved else 0)


def test_a_photograph_held_sideways_is_upright_at_half_its_size_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(Image.new("RGB", (4200, 4400), "red"), "JPEG", exif=exif)
    assert load_image(file).size == (2200, 2100)
