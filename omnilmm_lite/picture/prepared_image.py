"""Pictures as the tower takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.picture.preprocess import lower, narrower, normalised, square_of
from omnilmm_lite.picture.reading import ImageSource, PixelHash, opened


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A few megabytes, however large the picture was."""

    size: tuple[int, int]  # width and height of the whole picture, upright, as it was decoded
    pixel_hash: str  # of the whole picture, see `pixel_hash`
    pixels: npt.NDArray[np.float32]  # (1, 3, image_size, image_size)
    remark: str = ""  # what of it had to be ignored, for people: a damaged colour profile
    exif: Mapping[str, str] = field(default_factory=dict)  # see `exif_fields`


def prepare(source: ImageSource, config: VisionConfig, *, ignore_colour_profile: bool = False) -> PreparedImage:
    """The same numbers as `preprocess(load_image(source), config)`, without ever holding the whole picture in RGB.

    Takes the option of `load_image`, and raises what that does.
    """
    with opened(source, ignore_colour_profile=ignore_colour_profile) as picture:
        _, height = picture.size
        digest, narrow, top = PixelHash(picture.size), Image.new("RGB", (config.image_size, height)), 0
        for strip in picture.strips():
            digest.add(strip)
            narrow.paste(narrower(strip, config), (0, top))
            top += strip.height
        exif = picture.exif()
    return PreparedImage(picture.size, digest.hex(), normalised(lower(narrow, config)), picture.remark, exif)


def in_proportion(image: PreparedImage) -> Image.Image:
    """RGB of what the tower takes, with the picture's own aspect again: the longer side is as long as the square's, or
    as the picture's own where that is shorter."""
    square, (width, height) = square_of(image.pixels), image.size
    scale = min(1.0, square.width / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return square.resize(size, Image.Resampling.BICUBIC)
