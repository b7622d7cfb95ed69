"""A picture's file. Pillow's decoders are tried as well, as far as an error of theirs is no crash."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from PIL import Image, ImageCms

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.picture.heif import is_available
from omnilmm_lite.picture.reading import load_image
from tests.fuzz.form import Form

FORM = Form.BYTES
MODES = {"PNG": ("RGBA", "P", "I;16"), "GIF": ("P",), "BMP": ("RGB",), "TIFF": ("RGB", "F"), "WEBP": ("RGBA",)}


def seeds() -> Iterator[bytes]:
    with Image.open(BUILTIN / "pictures" / "coins.jpg") as image:
        small = image.convert("RGB").resize((24, 16))
    for name, modes in {**MODES, "JPEG": ("RGB", "L", "CMYK"), "AVIF": ("RGB",)}.items():
        for mode in modes:
            file = BytesIO()
            small.convert("I" if mode == "I;16" else mode).convert(mode).save(file, name)
            yield file.getvalue()
    file = BytesIO()
    small.save(file, "TIFF", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    yield file.getvalue()
    if is_available():
        from tests.picture.heic import heic

        yield heic(small)


def try_bytes(data: bytes) -> None:
    assert load_image(data).mode == "RGB"
