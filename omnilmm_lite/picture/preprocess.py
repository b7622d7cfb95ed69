"""Pictures: from RGB to the tower's input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from omnilmm_lite.config import CLIP_MEAN, CLIP_STD, VisionConfig
from omnilmm_lite.errors import InputError


def preprocess(image: Image.Image, config: VisionConfig) -> npt.NDArray[np.float32]:
    """The tower's input: RGB picture -> float32 (1, 3, image_size, image_size), CLIP-normalised.

    Squashes to the square without keeping the aspect or cropping, with Pillow's antialiased bicubic filter, and rounds
    the result through float16: what the reference does (OpenBMB/MiniCPM-V, omnilmm/model/utils.py and chat.py).
    Width first, then height, as Pillow did before version 13; that begins with the height where a picture is tall,
    which moves its pixels by about one of 255 levels.
    """
    if image.mode != "RGB":
        raise InputError(f"picture: preprocess takes RGB, this is {image.mode}; pass it through load_image first")
    return normalised(lower(narrower(image, config), config))


def narrower(image: Image.Image, config: VisionConfig) -> Image.Image:
    """Any rows of an RGB picture, as wide as the tower takes it: each row by itself."""
    return image.resize((config.image_size, image.height), Image.Resampling.BICUBIC)


def lower(image: Image.Image, config: VisionConfig) -> Image.Image:
    """All rows of `narrower` -> the tower's square."""
    return image.resize((config.image_size, config.image_size), Image.Resampling.BICUBIC)


def normalised(square: Image.Image) -> npt.NDArray[np.float32]:
    """RGB of the tower's size -> float32 (1, 3, image_size, image_size), CLIP-normalised, rounded through float16."""
    scaled = np.asarray(square).astype(np.float32) / np.float32(255)  # (side, side, 3)
    values = (scaled - np.asarray(CLIP_MEAN, np.float32)) / np.asarray(CLIP_STD, np.float32)
    rounded = values.astype(np.float16).astype(np.float32)
    return np.ascontiguousarray(rounded.transpose(2, 0, 1)[None])  # (1, 3, side, side)


def square_of(pixels: npt.NDArray[np.float32]) -> Image.Image:
    """The RGB square of which `normalised` made these pixels, exactly."""
    values = pixels[0].transpose(1, 2, 0)  # (side, side, 3)
    scaled = values * np.asarray(CLIP_STD, np.float32) + np.asarray(CLIP_MEAN, np.float32)
    return Image.fromarray(np.rint(scaled * 255).astype(np.uint8))
