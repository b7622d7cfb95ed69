"""A browser's frame: decoded like every picture of a client, and made a picture again."""

from __future__ import annotations

from PIL import Image

from omnilmm_lite.picture.prepared_image import in_proportion
from omnilmm_lite.serve.answering.desk import Desk

MOST_SIDE = 768  # pixels of the square that is asked of the decoding process


async def frame_picture(desk: Desk, file: bytes) -> Image.Image:
    """RGB, as wide and high as the file's or smaller, with its aspect. ApiError where it can't be had."""
    # twice what the tower takes: what is squashed to a square and back again is then as sharp to it as before
    side = min(MOST_SIDE, 2 * desk.checker.model.config.vision.image_size)
    return in_proportion(await desk.prepared(file, side))
