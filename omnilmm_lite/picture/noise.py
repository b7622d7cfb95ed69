"""Pictures to measure with, the same on every machine."""

from __future__ import annotations

import numpy as np
from PIL import Image


def noise_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth coloured noise, RGB: nearer to a photograph than white noise. Each seed is another picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
