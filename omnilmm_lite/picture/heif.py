"""HEIC and HEIF by the package pillow-heif (`pip install 'omnilmm-lite[heic]'`), opened like one of Pillow's own.

It is imported at the first such picture, so that libheif is loaded where pictures are decoded and nowhere else. Nothing
is registered with Pillow: a program that uses this package opens what it did before.
"""

from __future__ import annotations

import io
from functools import cache
from importlib.util import find_spec

from PIL import Image

PACKAGE = "pillow_heif"


@cache
def is_available() -> bool:
    """Whether the package is installed; it isn't imported for that."""
    return find_spec(PACKAGE) is not None


def open_heif(data: bytes) -> Image.Image:
    """The primary picture, upright, not decoded yet. ImportError where the package isn't there or doesn't load;
    whatever Pillow raises where the file is none."""
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # the limits on time and addresses are of all threads together
    opened: Image.Image = pillow_heif.HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    return opened
