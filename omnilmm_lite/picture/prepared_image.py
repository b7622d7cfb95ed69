"""Pictures as the tower takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.picture.preprocess import lower, narrower, normalised
from omnilmm_lite.picture.reading import ImageSource, PixelHash, opened


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A few megabytes, however large the picture was."""

    size: tuple[int, int]  # width and height of the whole picture, upright, as it was decoded
    pixel_hash: str  # of the whole picture, see `pixel_hash`
    pixels: npt.NDArray[np.float32]  # (1, 3, image_size, image_size)


def prepare(source: ImageSource, config: VisionConfig) -> PreparedImage:
    """The same numbers as `preprocess(load_image(source), config)`, without ever holding the whole picture in RGB.

    Raises what `load_image` does.
    """
    with opened(source) as picture:
        _, height = picture.size
        digest, narrow, top = PixelHash(picture.size), Image.new("RGB", (config.image_size, height)), 0
        for strip in picture.strips():
            digest.add(strip)
            narrow.paste(narrower(strip, config), (0, top))
            top += strip.height
    return PreparedImage(picture.size, digest.hex(), normalised(lower(narrow, config)))
