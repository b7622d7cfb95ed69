"""Pictures against numbers from paper, torch's resampling, and whatever bytes hypothesis thinks of."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from urllib.request import pathname2url

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture import file as file_module
from omnilmm_lite.picture.reading import (
    FORMATS,
    MAX_ASPECT,
    MAX_PIXELS,
    load_image,
    pixel_hash,
)
from tests.systems import make_pipe, set_home

Pixels = npt.NDArray[np.uint8]

# Three colours in an L: every one of the eight orientations looks different.
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image)


def photograph() -> Image.Image:
    return Image.fromarray(skimage.data.chelsea())


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def refusal(source: str | Path | bytes | Image.Image) -> str:
    with pytest.raises(InputError) as caught:
        load_image(source)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


# ---- sources ----


@pytest.mark.parametrize("kind", FORMATS)
def test_path_text_bytes_and_image_give_the_same_picture(kind: str, tmp_path: Path) -> None:
    data = encoded(noise(40, 30), kind)
    path = tmp_path / "ä picture.bin"  # the content decides, not the name
    path.write_bytes(data)
    address = "file://" + pathname2url(str(path))
    loaded = [load_image(source) for source in (path, str(path), address, data, Image.open(path))]
    assert {image.mode for image in loaded} == {"RGB"}
    assert {image.size for image in loaded} == {(40, 30)}
    assert len({pixel_hash(image) for image in loaded}) == 1


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(3, 3).save(tmp_path / "cat.png")
    set_home(monkeypatch, tmp_path)
    assert load_image("~/cat.png").size == (3, 3)


def test_the_callers_image_is_left_alone() -> None:
    image = Image.new("RGB", (2, 2), RED)
    load_image(image).putpixel((0, 0), BLUE)
    assert image.getpixel((0, 0)) == RED


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    for kind in ("GIF", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert load_image(data).getpixel((4, 4)) == RED


def test_camera_jpeg_with_several_pictures_is_a_jpeg() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert pixels(load_image(data))[0, 0, 0] > 250


def test_bad_paths_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture at all\n" * 50)
    (tmp_path / "empty.jpg").write_bytes(b"")
    make_pipe(tmp_path / "pipe.png")
    assert "no such file" in refusal(tmp_path / "missing.png")
    assert "folder" in refusal(tmp_path)
    assert "not a JPEG, PNG" in refusal(tmp_path / "notes.png")
    assert "empty" in refusal(tmp_path / "empty.jpg")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")
    assert "missing.png" in refusal(str(tmp_path / "missing.png"))
    assert "path is empty" in refusal("")
    assert "network" in refusal("https://example.org/cat.png")
    assert "another machine" in refusal("file://elsewhere/cat.png")
    assert "can't be read" in refusal("nul\0byte.png")
    assert "can't be read" in refusal("x" * 5000)
    assert "no such path" in refusal("~no-such-user/cat.png")
    assert "two\\nlines" in refusal("two\nlines.png")


@pytest.mark.parametrize(("error", "text"), [(PermissionError, "permission"), (OSError, "can't be read")])
def test_unreadable_files(error: type[OSError], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise error("the library's words")

    path = tmp_path / "cat.png"
    noise(3, 3).save(path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert text in refusal(path)
    assert "library's words" not in refusal(path)


def test_formats_outside_the_list_are_refused() -> None:
    for kind in ("EPS", "PPM", "ICO", "TGA", "PCX"):
        assert "not a JPEG, PNG" in refusal(encoded(Image.new("RGB", (32, 32)), kind))


# ---- limits ----


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9460, 9460), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_decoding(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert size[0] * size[1] > MAX_PIXELS
        assert "megapixels" in refusal(png_header(*size))


def test_every_size_that_pillow_warns_of_is_refused() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS <= Image.MAX_IMAGE_PIXELS


def test_large_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(513 * 2**20)  # sparse
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read"))
    assert "513 MiB, the limit is 512 MiB" in refusal(path)


def test_large_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "MAX_FILE_BYTES", 10)
    assert "limit" in refusal(bytes(11))


def test_extreme_sides() -> None:
    one = load_image(encoded(Image.new("RGB", (1, 1), RED), "PNG"))
    assert (one.size, one.getpixel((0, 0))) == ((1, 1), RED)
    assert load_image(Image.new("RGB", (MAX_ASPECT, 1))).size == (MAX_ASPECT, 1)
    assert "101x1" in refusal(Image.new("RGB", (101, 1)))
    assert "20000x1" in refusal(encoded(Image.new("RGB", (20_000, 1)), "PNG"))
    assert "1x20000" in refusal(encoded(Image.new("RGB", (1, 20_000)), "PNG"))
    assert "no pixels" in refusal(Image.new("RGB", (0, 5)))


# ---- modes ----


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"])
def test_opaque_modes_are_pillows_own_conversion(mode: str) -> None:
    image = noise(16, 16).convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        image = Image.merge("LAB", image.split())
    np.testing.assert_array_equal(pixels(load_image(image)), pixels(image.convert("RGB")))


def test_transparency_shows_white() -> None:
    hidden = (0, 0, 0)
    clear = Image.new("RGBA", (1, 1), (*hidden, 0))
    half = Image.new("RGBA", (1, 1), (*hidden, 51))  # 20 % black over white
    opaque = Image.new("RGBA", (1, 1), (10, 20, 30, 255))
    assert load_image(clear).getpixel((0, 0)) == (255, 255, 255)
    assert load_image(half).getpixel((0, 0)) == (204, 204, 204)
    assert load_image(opaque).getpixel((0, 0)) == (10, 20, 30)
    assert load_image(encoded(clear, "WEBP", lossless=True, exact=True)).getpixel((0, 0)) == (255, 255, 255)
    assert load_image(half.convert("RGBa")).getpixel((0, 0)) == (204, 204, 204)


@pytest.mark.parametrize("mode", ["LA", "La", "PA"])
def test_grey_and_palette_with_alpha(mode: str) -> None:
    image = Image.new("LA", (2, 1))
    image.putdata([(0, 51), (40, 255)])
    image = image.convert("RGBA").convert("PA") if mode == "PA" else image.convert(mode)
    np.testing.assert_allclose(pixels(load_image(image))[0], [[204] * 3, [40] * 3], atol=1)


@pytest.mark.parametrize(
    ("mode", "value", "other"), [("P", 1, 0), ("L", 7, 90), ("RGB", (1, 2, 3), (9, 9, 9)), ("1", 0, 1)]
)
def test_one_transparent_colour(mode: str, value: int | tuple[int, ...], other: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1))
    if mode == "P":
        image.putpalette([250, 0, 0, 0, 250, 0])
    image.putpixel((0, 0), value)
    image.putpixel((1, 0), other)
    loaded = pixels(load_image(encoded(image, "PNG", transparency=value)))[0]
    assert loaded[0].tolist() == [255, 255, 255]
    assert loaded[1].tolist() == {"P": [250, 0, 0], "L": [90] * 3, "RGB": [9] * 3, "1": [255] * 3}[mode]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_tones(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32896, 65406, 65407, 65535]], np.uint16)
    data = encoded(Image.fromarray(values), kind)
    assert Image.open(io.BytesIO(data)).mode == "I;16"
    expected = [0, 0, 1, 1, 128, 254, 255, 255]  # value / 257, to the nearest
    assert pixels(load_image(data))[0, :, 0].tolist() == expected


def test_sixteen_bit_grey_with_a_transparent_value() -> None:
    data = encoded(Image.fromarray(np.array([[257, 514]], np.uint16)), "PNG")
    chunk = b"tRNS" + struct.pack(">H", 257)
    where = data.index(b"IDAT") - 4
    data = data[:where] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[where:]
    assert pixels(load_image(data))[0, :, 0].tolist() == [255, 2]


def test_big_endian_sixteen_bit_grey() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 514, 65535))
    assert pixels(load_image(image))[0, :, 0].tolist() == [2, 255]


def test_grey_without_a_fixed_white_is_stretched() -> None:
    ramp = np.array([[-10.0, 0.0, 41.0]])
    expected = [0, 50, 255]
    for values in (ramp.astype(np.int32), ramp.astype(np.float32)):
        assert pixels(load_image(Image.fromarray(values)))[0, :, 0].tolist() == expected
    holes = np.array([[np.nan, -np.inf, 0.25, 0.75]], np.float32)
    assert pixels(load_image(Image.fromarray(holes)))[0, :, 0].tolist() == [0, 0, 0, 255]
    for constant in (np.full((2, 2), 7, np.int32), np.full((2, 2), np.nan, np.float32)):
        assert not pixels(load_image(Image.fromarray(constant))).any()


# ---- damage ----


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_refused(kind: str) -> None:
    data = encoded(photograph().resize((96, 64)), kind)
    assert "picture" in refusal(data[: len(data) // 2])


def test_damage_is_not_described_in_the_librarys_words() -> None:
    data = encoded(photograph(), "JPEG")
    assert refusal(data[:-2000]) == "picture: the picture is damaged or cut short; get a complete copy of it"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("PIL.Image.open", "picture: the memory is not enough to open this picture"),
        ("PIL.ImageFile.ImageFile.load", "picture: the memory is not enough for a picture of 12x9 pixels"),
        ("PIL.Image.Image.convert", "picture: the memory is not enough for a picture of 12x9 pixels"),
    ],
)
def test_short_memory_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch, step: str, said: str) -> None:
    data = encoded(noise(12, 9).convert("L"), "PNG")  # which is converted

    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(step, fail)
    with pytest.raises(OmniLMMError, match=said) as caught:
        load_image(data)
    assert not isinstance(caught.value, InputError)


def only_input_errors(data: bytes) -> None:
    try:
        image = load_image(data)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode == "RGB"


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    only_input_errors(data)


SAMPLES = {kind: encoded(noise(12, 9), kind) for kind in FORMATS}
SAMPLES["palette"] = encoded(noise(12, 9).convert("P"), "PNG", transparency=3)
SAMPLES["deflated"] = encoded(noise(12, 9), "TIFF", compression="tiff_adobe_deflate")


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_cut_and_flipped_files(name: str, data: st.DataObject) -> None:
    sample = bytearray(SAMPLES[name])
    for where in data.draw(st.lists(st.integers(0, len(sample) - 1), max_size=4)):
        sample[where] ^= data.draw(st.integers(1, 255))
    only_input_errors(bytes(sample[: data.draw(st.integers(0, len(sample)))]))
    only_input_errors(bytes(sample))


# ---- pixel_hash ----


def test_pixel_hash_is_of_the_content() -> None:
    image = noise(6, 4)
    changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    turned = Image.frombytes("RGB", (4, 6), image.tobytes())  # the same bytes in another shape
    assert (
        pixel_hash(image)
        == pixel_hash(load_image(encoded(image, "PNG")))
        == pixel_hash(load_image(encoded(image, "BMP")))
    )
    assert len({pixel_hash(image), pixel_hash(changed), pixel_hash(turned)}) == 3
