"""A small picture made of half blocks: the upper half of a cell in the letter's colour, the lower in the ground's."""

from __future__ import annotations

from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.picture.preprocess import square_of

WIDTH, HEIGHT = 36, 12  # cells at most
HALF_BLOCK = "▀"


def preview(image: PreparedImage, columns: int) -> Text:
    """The picture in at most `columns` columns, its aspect kept: a cell is twice as high as it is wide."""
    whole_width, whole_height = image.size
    scale = min(min(WIDTH, columns) / whole_width, 2 * HEIGHT / whole_height)
    width, rows = max(1, round(whole_width * scale)), max(1, round(whole_height * scale / 2))
    small = square_of(image.pixels).resize((width, 2 * rows), Image.Resampling.BICUBIC)
    data = small.tobytes()
    pixels = [Color.from_rgb(*data[i : i + 3]) for i in range(0, len(data), 3)]
    text = Text(no_wrap=True)
    for row in range(rows):
        upper = 2 * row * width
        for cell in range(upper, upper + width):
            text.append(HALF_BLOCK, Style(color=pixels[cell], bgcolor=pixels[cell + width]))
        text.append("\n")
    return text
