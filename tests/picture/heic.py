"""HEIC files, written by libheif's encoder."""

from __future__ import annotations

import io

import pytest
from PIL import Image

pillow_heif = pytest.importorskip("pillow_heif")


def heic(
    image: Image.Image, *others: Image.Image, primary: int = 0, exif: Image.Exif | None = None, **options: object
) -> bytes:
    """A file of these pictures. Options are Pillow's when saving, such as icc_profile and quality. An orientation in
    `exif` is written where HEIC has its own, too."""
    pillow_heif.register_heif_opener()  # for writing; nothing of ours opens by it
    buffer = io.BytesIO()
    several = {"save_all": True, "append_images": others, "primary_index": primary} if others else {}
    if exif is not None:
        options["exif"] = exif.tobytes()
    image.save(buffer, "HEIF", **several, **options)
    return buffer.getvalue()
