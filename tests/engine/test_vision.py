"""When the tower is open, and for how long."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from omnilmm_lite.config import OmniLMMConfig, ResamplerConfig, VisionConfig
from omnilmm_lite.engine.vision import CACHED_PICTURES, VisionEncoder
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.picture.prepared_image import PreparedImage

CONFIG = OmniLMMConfig(vision=VisionConfig(image_size=14), resampler=ResamplerConfig(num_queries=4, hidden_size=8))


class FakeTower:
    """Gives the mean of what it gets, in the resampler's shape."""

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        if np.isnan(pixels).any():
            raise OmniLMMError("vision tower: out of memory")
        return np.full((1, 4, 8), pixels.mean(), dtype=np.float32)


class Opener:
    """Counts how often the tower was opened, and how many are alive."""

    def __init__(self) -> None:
        self.count = 0
        self._towers: list[weakref.ref[FakeTower]] = []

    def __call__(self) -> FakeTower:
        assert self.alive == 0
        self.count += 1
        tower = FakeTower()
        self._towers.append(weakref.ref(tower))
        return tower

    @property
    def alive(self) -> int:
        return sum(tower() is not None for tower in self._towers)


def picture(grey: int) -> Image.Image:
    return Image.new("RGB", (14, 14), (grey, grey, grey))


def test_nothing_is_open_before_the_first_picture_and_everything_after_it() -> None:
    opener = Opener()
    encoder = VisionEncoder(CONFIG, opener)
    assert opener.count == 0
    for grey in (1, 2, 1):
        encoder.encode(picture(grey))
    assert (opener.count, opener.alive) == (1, 1)


def test_a_time_shared_tower_is_gone_after_each_picture() -> None:
    opener = Opener()
    encoder = VisionEncoder(CONFIG, opener, release_after=True)
    first = encoder.encode(picture(1))
    assert (opener.count, opener.alive) == (1, 0)
    assert encoder.encode(picture(1)) is first  # from memory: nothing is opened for it
    assert opener.count == 1
    encoder.encode(picture(2))
    assert (opener.count, opener.alive) == (2, 0)


def test_many_pictures_open_a_time_shared_tower_once() -> None:
    opener = Opener()
    encoder = VisionEncoder(CONFIG, opener, release_after=True)
    with encoder.kept_open():
        assert opener.count == 0  # and not at all where every picture is remembered
        for grey in range(CACHED_PICTURES + 2):
            encoder.encode(picture(grey))
        with encoder.kept_open():
            pass
        assert (opener.count, opener.alive) == (1, 1)
    assert opener.alive == 0


def test_a_time_shared_tower_that_fails_is_gone_too() -> None:
    opener = Opener()
    encoder = VisionEncoder(CONFIG, opener, release_after=True)
    hostile = PreparedImage((14, 14), "a hash", np.full((1, 3, 14, 14), np.nan, dtype=np.float32))
    with pytest.raises(OmniLMMError, match=r"vision tower: out of memory") as caught:
        encoder.encode(hostile)
    del caught  # its traceback holds the frames, and they the tower
    assert opener.alive == 0
    encoder.encode(picture(1))
    assert opener.count == 2
