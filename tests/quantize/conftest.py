"""Pictures to calibrate a small tower on."""

from __future__ import annotations

from pathlib import Path

import pytest
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
