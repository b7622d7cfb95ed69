"""A browser's frame: decoded like every picture of a client, and made a picture again."""

from __future__ import annotations

from PIL import Image

from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.picture.preprocess import square_of
from omnilmm_lite.serve.answering.desk import Desk

MOST_SIDE = 768  # pixels of the square that is asked of the decoding process


async def frame_picture(desk: Desk, file: bytes) -> Image.Image:
    """RGB, as wide and high as the file's or smaller, with its aspect. ApiError where it can't be had."""
    # twice what the tower takes: what is squashed to a square and back again is then as sharp to it as before
    side = min(MOST_SIDE, 2 * desk.checker.model.config.vision.image_size)
    return _with_aspect(await desk.prepared(file, side), side)


def _with_aspect(image: PreparedImage, side: int) -> Image.Image:
    width, height = image.size
    scale = min(1.0, side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return square_of(image.pixels).resize(size, Image.Resampling.BICUBIC)
