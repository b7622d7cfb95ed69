"""HEIC by pillow-heif: the primary picture, upright, in sRGB, within every limit; and what is said without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture import heif, reading
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.listing import Filter, list_pictures
from omnilmm_lite.picture.prepared_image import prepare
from omnilmm_lite.picture.reading import load_image
from tests.paths import ROOT
from tests.picture import icc
from tests.picture.heic import heic
from tests.picture.test_orientation import held
from tests.picture.test_reading import BLUE, GREEN, RED, pixels

SMALL = VisionConfig(image_size=28)


def photograph() -> Image.Image:
    return Image.fromarray(skimage.data.chelsea()).resize((120, 80))


def test_it_shows_what_was_saved() -> None:
    found = np.asarray(load_image(heic(photograph(), quality=95))).astype(int)
    assert np.abs(found - np.asarray(photograph())).mean() < 3  # levels


@pytest.mark.parametrize("primary", [0, 1, 2])
def test_of_several_pictures_the_primary_one(primary: int) -> None:
    images = [Image.new("RGB", (64 + 16 * number, 64), colour) for number, colour in enumerate((RED, GREEN, BLUE))]
    found = load_image(heic(*images, primary=primary))
    assert found.size == images[primary].size
    np.testing.assert_allclose(np.asarray(found)[32, 32], [RED, GREEN, BLUE][primary], atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright_once(orientation: int) -> None:
    """The file says it twice, as a telephone's does: in its own boxes and in EXIF."""
    exif = Image.Exif()
    exif[274] = orientation
    exif[272] = "a telephone"
    stored = held(orientation)
    data = heic(stored.resize((stored.width * 8, stored.height * 8), Image.Resampling.NEAREST), exif=exif)
    found = load_image(data)
    assert found.size == (320, 192)
    for where, colour in {(40, 40): RED, (280, 40): GREEN, (40, 160): BLUE, (280, 160): (0, 0, 0)}.items():
        np.testing.assert_allclose(pixels(found)[where[1], where[0]], colour, atol=6)
    assert prepare(data, SMALL).exif["Model"] == "a telephone"


def test_its_colours_are_those_of_its_profile() -> None:
    profile = icc.matrix_profile(icc.P3, icc.parametric(icc.SRGB_CURVE))
    data = heic(Image.new("RGB", (64, 64), (200, 100, 50)), icc_profile=profile, quality=100)
    wanted = load_image(Image.new("RGB", (64, 64), (200, 100, 50)))
    wanted.info["icc_profile"] = profile
    np.testing.assert_allclose(pixels(load_image(data))[9, 9], pixels(load_image(wanted))[9, 9], atol=3)


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    np.testing.assert_allclose(pixels(load_image(heic(clear)))[9, 9], (255, 255, 255), atol=2)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_part_of_a_file_is_refused(share: float) -> None:
    data = heic(photograph())
    with pytest.raises(InputError, match="picture") as caught:
        load_image(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


def test_its_limits_are_those_of_other_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(photograph())
    monkeypatch.setattr(reading, "MAX_DECODED_BYTES", 120 * 80 * 16 - 1)
    with pytest.raises(InputError, match=r"a HEIC of 0 megapixels takes too much memory"):
        load_image(data)
    with pytest.raises(InputError, match="one side more than 100 times"):
        load_image(heic(Image.new("RGB", (4096, 16))))


def test_the_process_that_decodes_is_the_only_one_to_load_the_library(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(heic(photograph()))
    program = f"""
import sys
from pathlib import Path
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
process = DecodingProcess()
image = process.prepare(PictureFile(Path({str(path)!r}).read_bytes()), VisionConfig(image_size=28))
process.close()
print(image.size, "pillow_heif" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(120, 80) False\n"


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(photograph())
    (tmp_path / "IMG_1.HEIC").write_bytes(data)
    (tmp_path / "IMG_2.heif").write_bytes(data)
    (tmp_path / "a.png").touch()
    assert list_pictures(tmp_path, Filter()).paths == ("IMG_1.HEIC", "IMG_2.heif", "a.png")
    monkeypatch.setitem(sys.modules, heif.PACKAGE, None)  # as where it isn't installed
    monkeypatch.setattr("omnilmm_lite.picture.listing.is_available", lambda: False)
    with pytest.raises(InputError) as caught:
        load_image(tmp_path / "IMG_1.HEIC")
    assert str(caught.value).endswith("but HEIC; pip install 'omnilmm-lite[heic]' lets it be read, or save it as JPEG")
    listing = list_pictures(tmp_path, Filter())
    assert listing.paths == ("a.png",)
    assert listing.told_passed_over() == (
        "2 files of kinds that can't be read: 2 HEIC (pip install 'omnilmm-lite[heic]' lets HEIC be read)"
    )


def test_another_process_refuses_what_this_one_does() -> None:
    process = DecodingProcess()
    try:
        with pytest.raises(InputError, match="HEIC picture is damaged"):
            process.prepare(PictureFile(heic(photograph())[:60]), SMALL)
    finally:
        process.close()
