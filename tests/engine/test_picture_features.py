"""A picture's features are remembered by its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from omnilmm_lite.engine.vision import CACHED_PICTURES, Encode, VisionEncoder
from omnilmm_lite.model import Model
from omnilmm_lite.picture.reading import load_image
from tests.small_checkpoint import TINY

Array = NDArray[np.float32]


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8))


class CountedVision:
    def __init__(self) -> None:
        self.opened = self.runs = 0
        self.encoder = VisionEncoder(TINY, self._open)

    def _open(self) -> Encode:
        self.opened += 1
        return self._encode

    def _encode(self, pixels: Array) -> Array:
        self.runs += 1
        features: Array = pixels.mean(axis=(2, 3))[:, None]  # (1, 1, 3)
        return features


def test_the_same_pixels_are_encoded_once_whatever_their_path(tmp_path: Path) -> None:
    vision = CountedVision()
    assert vision.opened == 0
    picture(0).save(tmp_path / "a.png")
    picture(0).save(tmp_path / "b.bmp")
    features = [vision.encoder.encode(load_image(tmp_path / name)) for name in ("a.png", "b.bmp", "a.png")]
    assert (vision.opened, vision.runs) == (1, 1)
    assert features[0] is features[1] is features[2]


def test_a_changed_file_at_the_same_path_is_a_new_picture(tmp_path: Path) -> None:
    vision = CountedVision()
    path = tmp_path / "a.png"
    values = []
    for seed in (0, 1):
        picture(seed).save(path)
        values.append(vision.encoder.encode(load_image(path)).values)
    assert vision.runs == 2
    assert np.abs(values[0] - values[1]).max() > 0


def test_the_pictures_seen_longest_ago_are_forgotten() -> None:
    vision = CountedVision()
    for seed in range(CACHED_PICTURES):
        vision.encoder.encode(picture(seed))
    vision.encoder.encode(picture(0))  # now the latest
    vision.encoder.encode(picture(CACHED_PICTURES))  # takes the place of picture 1
    before = vision.runs
    vision.encoder.encode(picture(0))
    assert vision.runs == before
    vision.encoder.encode(picture(1))
    assert vision.runs == before + 1


def test_remembered_features_can_not_be_changed_by_a_caller(model: Model) -> None:
    with pytest.raises(ValueError, match="read-only"):
        model.encode_image(picture(0))[0] = 0


def test_a_chat_without_a_picture_never_opens_the_tower(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    vision = CountedVision()
    monkeypatch.setattr(model, "vision", vision.encoder)
    chat = model.chat()
    assert chat.ask("Who are you?", greedy=True, max_new_tokens=4)
    assert vision.opened == 0
    assert TINY.tokens.im_patch not in model.encode_chat(chat.messages, image=False)
