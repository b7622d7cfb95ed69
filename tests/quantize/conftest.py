"""Pictures to calibrate a small tower on, and torch on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from omnilmm_lite.text.conversations import PICTURES
from tests.small_checkpoint import TINY


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photographs that decode at once."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for name in ("cat", "coins"):
        paths.append(folder / f"{name}.png")
        with Image.open(PICTURES / f"{name}.jpg") as image:
            image.resize((TINY.vision.image_size, TINY.vision.image_size)).save(paths[-1])
    return paths


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Of torch's: at this size, waiting for the others takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
