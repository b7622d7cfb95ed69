"""Picture files through the reference's tower and resampler, several together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import LayerwiseModules, load_module
from export.reference.model import Resampler, VisionBlock, VisionTower
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image

# Pictures that go through the tower together: loading a block of it costs as much as running it on a few.
PICTURES_AT_ONCE = 8


def picture_batches(pictures: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """The same pictures together each time: the size of a batch shows in the last digits of its features."""
    return (pictures[start : start + PICTURES_AT_ONCE] for start in range(0, len(pictures), PICTURES_AT_ONCE))


def stack_pixels(images: Iterable[Image], config: VisionConfig) -> Tensor:
    """The pictures as the tower takes them: float32 (pictures, 3, image_size, image_size), normalised."""
    return torch.from_numpy(np.concatenate([preprocess(image, config) for image in images]))


@torch.inference_mode()
def encode_pictures(checkpoint: Checkpoint, pictures: Sequence[Path], device: torch.device | None = None) -> Tensor:
    """Features of one batch, float32 (pictures, queries, hidden), with one block of the tower in memory at a time.

    They are computed on `device`, or on the CPU, and lie on the CPU.

    InputError for a picture that can't be read.
    """
    config = checkpoint.config
    vision = config.vision
    pixels = stack_pixels(map(load_image, pictures), vision).to(device)
    blocks = LayerwiseModules[VisionBlock](
        checkpoint, "model.vision_tower.blocks", vision.num_hidden_layers, lambda: VisionBlock(vision), device
    )
    tower = load_module(checkpoint, "model.vision_tower", lambda: VisionTower(vision, blocks), device)
    patches = tower(pixels)  # (pictures, patches, kv_dim)
    resampler = load_module(checkpoint, "model.resampler", lambda: Resampler(config.resampler, vision.grid), device)
    features: Tensor = resampler(patches)
    return features.cpu()
