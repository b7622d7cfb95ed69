"""The tower's input against torch's arithmetic and numbers from paper."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


def resize(tensor: Tensor, height: int, width: int) -> Tensor:
    """torch's antialiased bicubic, cut to the range of 8 bits: (1, 3, old, old) -> (1, 3, height, width)."""
    return F.interpolate(tensor, (height, width), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)


@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
@pytest.mark.parametrize("side", [112, 448])
def test_preprocess_is_the_references_arithmetic(name: str, side: int) -> None:
    """torch's resampling, one axis after the other as Pillow does it, differs by Pillow's two roundings only."""
    source = Image.fromarray(getattr(skimage.data, name)())
    ours = torch.from_numpy(preprocess(load_image(source), VisionConfig(image_size=side)))
    tensor = torch.from_numpy(np.array(source)).permute(2, 0, 1)[None].float()  # (1, 3, height, width)
    resized = resize(resize(tensor, source.height, side), side, side)
    assert ours.shape == (1, 3, side, side)
    level = 1 / 255 / 0.26  # one step of 8 bits after normalisation
    difference = (ours - (resized / 255 - MEAN) / STD).abs()
    assert float(difference.max()) < 1.6 * level
    assert float(difference.mean()) < 0.4 * level


def test_preprocess_is_exact_where_nothing_is_resized() -> None:
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8))
    ours = preprocess(source, VisionConfig(image_size=28))
    tensor = torch.from_numpy(np.array(source)).permute(2, 0, 1).float().div(255)
    np.testing.assert_array_equal(ours[0], tensor.sub(MEAN).div(STD).half().float().numpy())
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous


def test_preprocess_on_paper() -> None:
    """White is (1 - MEAN) / STD, black -mean / std, as float16 has them."""
    white = preprocess(Image.new("RGB", (5, 9), "white"), VisionConfig(image_size=14))
    black = preprocess(Image.new("RGB", (5, 9), "black"), VisionConfig(image_size=14))
    np.testing.assert_array_equal(white[0, :, 3, 3], np.array([1.9303361, 2.0748837, 2.1458969], np.float16))
    np.testing.assert_array_equal(black[0, :, 3, 3], np.array([-1.7922626, -1.7520971, -1.4802198], np.float16))


def test_preprocess_squashes_and_does_not_crop() -> None:
    wide = Image.new("RGB", (300, 30), "black")
    wide.paste("white", (270, 0, 300, 30))  # the last tenth
    values = preprocess(wide, VisionConfig(image_size=100))[0, 0]  # (100, 100)
    assert (values[:, :88] < -1.7).all()
    assert (values[:, 92:] > 1.8).all()


def test_one_pixel_fills_the_square() -> None:
    values = preprocess(Image.new("RGB", (1, 1), "white"), VisionConfig())
    assert values.shape == (1, 3, 448, 448)
    assert (values == values[:, :, :1, :1]).all()


def test_preprocess_refuses_other_modes() -> None:
    with pytest.raises(InputError, match="load_image"):
        preprocess(Image.new("L", (2, 2)), VisionConfig())
