"""Pictures in strips against Pillow's own conversion and resampling of the whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from PIL import Image, ImageOps

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture import reading, upright
from omnilmm_lite.picture.prepared_image import prepare
from omnilmm_lite.picture.preprocess import normalised, preprocess, square_of
from omnilmm_lite.picture.reading import load_image, pixel_hash

SMALL = VisionConfig(image_size=28)
ORIENTATION = 274
LEVEL = 1 / 255 / 0.26 + 2**-10  # one of 255, of the colour with the smallest deviation, and rounding to float16


@pytest.fixture(autouse=True)
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 60 rows has twenty."""
    monkeypatch.setattr(upright, "STRIP_PIXELS", 3 * 90)


def photograph(width: int = 90, height: int = 60) -> Image.Image:
    return Image.fromarray(skimage.data.chelsea()).resize((width, height))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def expected(rgb: Image.Image) -> npt.NDArray[np.float32]:
    """Pillow's whole picture, squashed at once."""
    return normalised(rgb.resize((28, 28), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_opaque_pictures_turned_every_way(mode: str, orientation: int) -> None:
    """ImageOps, which is Pillow's, turns the whole picture."""
    image = photograph().quantize(64) if mode == "P" else photograph().convert(mode)
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    whole = ImageOps.exif_transpose(image).convert("RGB")
    prepared = prepare(image, SMALL)
    assert (prepared.size, prepared.pixel_hash) == (whole.size, pixel_hash(whole))
    np.testing.assert_array_equal(prepared.pixels, expected(whole))
    np.testing.assert_array_equal(np.asarray(load_image(image)), np.asarray(whole))


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (28, 28), (28, 90), (90, 28), (3, 271)])
def test_every_shape(size: tuple[int, int]) -> None:
    """Pillow itself begins with the height where a picture is tall; older ones never do."""
    image = photograph(*size)
    pixels = prepare(image, SMALL).pixels
    np.testing.assert_array_equal(pixels, preprocess(image, SMALL))
    is_tall = size[1] > max(size[0], 28)
    np.testing.assert_allclose(pixels, expected(image), rtol=0, atol=LEVEL if is_tall else 0)


def test_transparency_in_strips() -> None:
    """Over white, worked out in floats."""
    alpha = Image.linear_gradient("L").resize((90, 60))
    image = photograph()
    image.putalpha(alpha)
    share = np.asarray(alpha, np.float64)[..., None] / 255
    over_white = np.asarray(photograph(), np.float64) * share + 255 * (1 - share)
    for data in (encoded(image, "PNG"), encoded(image, "TIFF")):
        np.testing.assert_allclose(np.asarray(load_image(data)), over_white, atol=1)
        np.testing.assert_array_equal(prepare(data, SMALL).pixels, expected(load_image(data)))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_grey_of_many_bits_in_strips(dtype: type) -> None:
    """The range that is stretched is the whole picture's, not a strip's."""
    values: npt.NDArray[Any] = np.linspace(0, 65535, 90 * 60).reshape(60, 90).astype(dtype)
    whole = Image.fromarray(np.rint(values.astype(np.float64) / 257).astype(np.uint8)).convert("RGB")
    prepared = prepare(encoded(Image.fromarray(values), "TIFF"), SMALL)
    assert prepared.pixel_hash == pixel_hash(whole)
    np.testing.assert_array_equal(prepared.pixels, expected(whole))


def test_the_square_can_be_seen_again() -> None:
    square = photograph(28, 28)
    np.testing.assert_array_equal(np.asarray(square_of(normalised(square))), np.asarray(square))


# ---- memory ----


@pytest.mark.parametrize(
    ("kind", "options", "pixel_bytes"),
    [("WEBP", {}, 16), ("AVIF", {}, 16), ("JPEG", {"progressive": True}, 12), ("JPEG", {}, None), ("PNG", {}, None)],
)
def test_decoders_that_take_much_memory_get_smaller_pictures(
    kind: str, options: dict[str, object], pixel_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photograph(), kind, **options)
    if pixel_bytes is None:
        monkeypatch.setattr(reading, "MAX_DECODED_BYTES", 1)
    else:
        monkeypatch.setattr(reading, "MAX_DECODED_BYTES", 90 * 60 * pixel_bytes - 1)
        with pytest.raises(
            InputError, match=r"^picture: a \w.* takes too much memory, the limit is 0; make it smaller"
        ):
            prepare(data, SMALL)
        monkeypatch.setattr(reading, "MAX_DECODED_BYTES", 90 * 60 * pixel_bytes)
    assert prepare(data, SMALL).size == (90, 60)


def test_a_file_that_is_named_keeps_its_name_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded(photograph(), "PNG")[:500])
    with pytest.raises(InputError, match=r"cat\.png: the picture is damaged"):
        prepare(path, SMALL)
