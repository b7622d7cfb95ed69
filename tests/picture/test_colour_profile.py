"""Colours by their profile, against the matrices and curves of the standards, worked out here in floats."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.running.asking import AnsweringHere
from omnilmm_lite.picture import colour_profile, upright
from omnilmm_lite.picture.colour_profile import DAMAGED
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import prepare
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image, pixel_hash
from tests.picture import icc

SMALL = VisionConfig(image_size=28)
DISPLAY_P3 = icc.matrix_profile(icc.P3, icc.parametric(icc.SRGB_CURVE))
ADOBE_RGB = icc.matrix_profile(icc.ADOBE_RGB, icc.gamma(2.19921875))
# Linear light of these to linear sRGB, all of them with the white of D65: SMPTE EG 432-1 and Adobe's own paper against
# IEC 61966-2-1.
P3_TO_SRGB = [[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]]
ADOBE_TO_SRGB = [[1.3983557, -0.3983557, 0], [0, 1, 0], [0, -0.0429290, 1.0429290]]
COLOURS = [[200, 100, 50], [60, 160, 90], [30, 40, 200], [128, 128, 128], [255, 255, 255], [0, 0, 0], [230, 60, 60]]
SATURATED = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]  # which sRGB can't show: the nearest that it has


def srgb(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """IEC 61966-2-1: light 0 to 1 -> levels 0 to 255."""
    light = linear.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def srgb_light(levels: list[list[int]]) -> npt.NDArray[np.float64]:
    value = np.asarray(levels, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def row(colours: list[list[int]], mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.asarray([colours], np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(data: bytes, **options: bool) -> npt.NDArray[np.int64]:
    with_height = np.asarray(load_image(data, **options)).astype(np.int64)  # (height, width, 3)
    first: npt.NDArray[np.int64] = with_height[0]
    return first


def test_a_wide_gamut_photograph_becomes_srgb() -> None:
    expected = srgb(srgb_light(COLOURS + SATURATED) @ np.asarray(P3_TO_SRGB).T)
    assert np.abs(expected - (COLOURS + SATURATED)).max() > 15  # the case has something to show
    for kind in ("PNG", "TIFF"):
        data = encoded(row(COLOURS + SATURATED), kind, icc_profile=DISPLAY_P3)
        np.testing.assert_allclose(seen(data), expected, atol=1.5)
        np.testing.assert_array_equal(seen(data, ignore_colour_profile=True), COLOURS + SATURATED)


def test_adobe_rgb_with_its_own_curve() -> None:
    light = (np.asarray(COLOURS, np.float64) / 255) ** 2.19921875
    np.testing.assert_allclose(
        seen(encoded(row(COLOURS), icc_profile=ADOBE_RGB)), srgb(light @ np.asarray(ADOBE_TO_SRGB).T), atol=1.5
    )


@pytest.mark.parametrize("profile", [icc.matrix_profile(icc.SRGB, icc.parametric(icc.SRGB_CURVE)), None])
def test_srgb_under_whatever_name_changes_nothing(profile: bytes | None) -> None:
    profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    levels = [[level, 255 - level, level // 2] for level in range(256)]
    image = Image.fromarray(np.asarray([levels] * 4, np.uint8))
    np.testing.assert_array_equal(seen(encoded(image, icc_profile=profile)), levels)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_a_curve_of_its_own(mode: str) -> None:
    levels = np.asarray([[0, 20, 128, 200, 255]])
    image = Image.fromarray((levels * 257).astype(np.uint16) if mode == "I;16" else levels.astype(np.uint8))
    data = encoded(image if mode == "I;16" else image.convert(mode), icc_profile=icc.grey_profile(icc.gamma(1.0)))
    expected = srgb(levels[0] / 255)
    np.testing.assert_allclose(seen(data), np.stack([expected] * 3, 1), atol=1.5)


def test_grey_that_kept_the_profile_of_its_colours() -> None:
    data = encoded(Image.new("L", (2, 2), 100), icc_profile=icc.matrix_profile(icc.SRGB, icc.gamma(1.0)))
    np.testing.assert_allclose(seen(data)[0], srgb(np.asarray([100 / 255] * 3)), atol=1.5)


def test_a_screens_white_is_white_whatever_its_tint() -> None:
    profile = icc.matrix_profile(icc.P3, icc.parametric(icc.SRGB_CURVE), icc.D65)
    assert seen(encoded(row([[255, 255, 255]]), icc_profile=profile)).tolist() == [[255, 255, 255]]


def test_inks() -> None:
    """L* of CIE 1976 to light; Pillow's own conversion has another grey."""
    inks = [(0, 0, 0, 0), (0, 0, 0, 255), (0, 0, 0, 128), (255, 0, 0, 0)]
    image = Image.new("CMYK", (4, 1))
    image.putdata(inks)
    data = encoded(image, "TIFF", icc_profile=icc.ink_profile())
    lightness = np.asarray([100, 0, 100 * 127 / 255, 100 * 191 / 255])
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    np.testing.assert_allclose(seen(data), np.stack([srgb(light)] * 3, 1), atol=2.5)
    assert abs(seen(data, ignore_colour_profile=True)[3] - [0, 255, 255]).max() == 0


def test_transparent_and_palette_pictures() -> None:
    expected = srgb(srgb_light([[200, 100, 50]]) @ np.asarray(P3_TO_SRGB).T)[0]
    clear = row([[200, 100, 50]] * 2, "RGBA")
    clear.putpixel((1, 0), (200, 100, 50, 51))  # a fifth of it over white
    found = seen(encoded(clear, icc_profile=DISPLAY_P3))
    np.testing.assert_allclose(found, [expected, 255 + (expected - 255) / 5], atol=1.5)
    palette = row([[200, 100, 50]] * 2).quantize(4)
    np.testing.assert_allclose(seen(encoded(palette, icc_profile=DISPLAY_P3))[0], expected, atol=1.5)


def test_in_strips_it_is_what_littlecms_makes_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(image, exif=exif, icc_profile=DISPLAY_P3)
    whole = load_image(data)
    monkeypatch.setattr(upright, "STRIP_PIXELS", 3 * 60)
    prepared = prepare(data, SMALL)
    assert prepared.pixel_hash == pixel_hash(whole) != prepare(data, SMALL, ignore_colour_profile=True).pixel_hash
    np.testing.assert_array_equal(prepared.pixels, preprocess(whole, SMALL))


@pytest.mark.parametrize(
    "profile", [b"no profile", DISPLAY_P3[:200], icc.grey_profile(icc.gamma(2.2)), icc.ink_profile(), bytes(5000)]
)
def test_a_profile_that_cannot_be_used_is_ignored_and_said(profile: bytes) -> None:
    data = encoded(row(COLOURS), "TIFF", icc_profile=profile)
    np.testing.assert_array_equal(seen(data), COLOURS)
    assert prepare(data, SMALL).remark == DAMAGED
    assert prepare(data, SMALL, ignore_colour_profile=True).remark == ""
    assert prepare(encoded(row(COLOURS), icc_profile=DISPLAY_P3), SMALL).remark == ""


def test_one_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them would be all the memory that further pictures need."""
    monkeypatch.setattr(colour_profile, "MAX_PROFILE_BYTES", len(DISPLAY_P3) - 1)
    colour_profile._profile.cache_clear()
    assert prepare(encoded(row(COLOURS), icc_profile=DISPLAY_P3), SMALL).remark == DAMAGED
    assert colour_profile._profile.cache_info().currsize == 0


def test_every_cut_and_flip_of_a_profile_is_survived() -> None:
    generator = np.random.default_rng(7)
    for profile in (DISPLAY_P3, icc.ink_profile()):
        image = row(COLOURS, "CMYK" if b"CMYK" in profile[:40] else "RGB")
        for _ in range(25):
            broken = bytearray(profile)
            for where in generator.integers(0, len(broken), 6):
                broken[where] = generator.integers(0, 256)
            try:
                assert load_image(encoded(image, "TIFF", icc_profile=bytes(broken))).mode == "RGB"
            except InputError as error:
                pytest.fail(str(error))


def test_benchmarks_are_asked_about_the_numbers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own kits look at no profile, and scores are to be comparable."""
    options: list[dict[str, Any]] = []

    def noted(**given: Any) -> DecodingProcess:
        options.append(given)
        return DecodingProcess(**given)

    monkeypatch.setattr("omnilmm_lite.evaluation.running.asking.DecodingProcess", noted)
    nobody: Any = None
    assert list(AnsweringHere(SMALL, nobody)._answers(())) == []
    assert options == [{"ignore_colour_profile": True}]


def test_the_other_process_does_the_same() -> None:
    data = encoded(row(COLOURS + SATURATED), icc_profile=DISPLAY_P3)
    broken = encoded(row(COLOURS), "TIFF", icc_profile=b"no profile")
    for ignored in (False, True):
        process = DecodingProcess(ignore_colour_profile=ignored)
        try:
            found = process.prepare(PictureFile(data), SMALL)
            assert process.prepare(PictureFile(broken), SMALL).remark == ("" if ignored else DAMAGED)
        finally:
            process.close()
        here = prepare(data, SMALL, ignore_colour_profile=ignored)
        assert found.pixel_hash == here.pixel_hash
        np.testing.assert_array_equal(found.pixels, here.pixels)
