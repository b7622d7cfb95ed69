"""What counts as another sight."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from omnilmm_lite.live.frames.difference import difference, signature
from omnilmm_lite.live.options import SessionOptions
from tests.live.sessions import shape

THRESHOLD = SessionOptions().threshold


def room() -> Image.Image:
    """Something with edges and tones."""
    ramp = np.linspace(60, 200, 320, dtype=np.uint8)
    picture = Image.fromarray(np.stack([np.tile(ramp, (240, 1))] * 3, axis=2))
    ImageDraw.Draw(picture).rectangle((40, 60, 120, 200), fill=(90, 60, 40))
    return picture


def changed(noise: float = 0.0, gain: float = 1.0) -> Image.Image:
    pixels = np.asarray(room(), np.float32) * gain
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("picture", [room(), changed(noise=8), changed(gain=1.02), changed(noise=5, gain=0.98)])
def test_noise_and_flicker_are_the_same_sight(picture: Image.Image) -> None:
    assert difference(signature(room()), signature(picture)) < THRESHOLD


@pytest.mark.parametrize("radius", [16, 30, 60])
def test_something_that_came_is_another_one(radius: int) -> None:
    picture = room()
    ImageDraw.Draw(picture).ellipse((200 - radius, 120 - radius, 200 + radius, 120 + radius), fill="red")
    assert difference(signature(room()), signature(picture)) > THRESHOLD


def test_it_goes_from_0_to_1_and_is_symmetric() -> None:
    black, white = (signature(Image.new("RGB", (50, 40), colour)) for colour in ("black", "white"))
    assert (difference(black, black), difference(black, white), difference(white, black)) == (0, 1, 1)


def test_it_is_the_mean_change_of_the_twentieth_that_changed_most() -> None:
    black, other = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32))
    for number in range(51):  # 5 % of 1024 cells: half of them white, the others at a third
        other.putpixel((number % 32, number // 32), (255, 255, 255) if number % 2 else (255, 0, 0))
    assert difference(signature(black), signature(other)) == pytest.approx((25 + 26 / 3) / 51, rel=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (1920, 1080)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    assert difference(signature(shape("red", size=size)), signature(shape("red", size=size))) == 0
