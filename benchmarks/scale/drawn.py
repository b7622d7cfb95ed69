"""Pictures that the built-in model knows: a shape each, drawn from a seed, every file another one."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 64
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 150, 30), "teal": (0, 128, 128)}


def draw(folder: Path, count: int, seed: int = 0) -> None:
    """`count` PNG files in ten folders below `folder`; one in a hundred is broken. Nothing where they are there."""
    for number in range(count):
        path = folder / str(number % 10) / f"{number:07}.png"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 100 == 99:
            path.write_bytes(b"no picture, but number %d" % number)
            continue
        chance = random.Random(seed * 1_000_003 + number)
        picture = Image.new("RGB", (SIDE, SIDE), tuple(chance.randrange(225, 256) for _ in range(3)))
        left, top, size = chance.randrange(4, 24), chance.randrange(4, 24), chance.randrange(20, 36)
        colour = chance.choice([*COLOURS.values()])
        pen = ImageDraw.Draw(picture)
        box = (left, top, left + size, top + size)
        if chance.random() < 0.5:
            pen.ellipse(box, fill=colour)
        else:
            pen.rectangle(box, fill=colour)
        pen.point((0, 0), (number % 256, number // 256 % 256, number // 65536))  # no two files alike
        picture.save(path)
