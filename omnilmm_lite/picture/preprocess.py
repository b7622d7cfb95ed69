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
    """
    if image.mode != "RGB":
        raise InputError(f"picture: preprocess takes RGB, this is {image.mode}; pass it through load_image first")
    side = config.image_size
    resized = image.resize((side, side), Image.Resampling.BICUBIC)
    scaled = np.asarray(resized).astype(np.float32) / np.float32(255)  # (side, side, 3)
    normalised = (scaled - np.asarray(CLIP_MEAN, np.float32)) / np.asarray(CLIP_STD, np.float32)
    rounded = normalised.astype(np.float16).astype(np.float32)
    return np.ascontiguousarray(rounded.transpose(2, 0, 1)[None])  # (1, 3, side, side)
