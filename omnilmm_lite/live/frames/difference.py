"""How much two frames differ to the eye: noise and flicker little, something that came or moved much."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # cells in a row and in a column: a cell's mean has no noise left, and a small thing still fills one
MOST_CHANGED = 0.05  # of the cells: the part whose change counts

Signature: TypeAlias = NDArray[np.float32]  # (SIDE, SIDE, 3), RGB means of the cells, 0 to 1


def signature(picture: Image.Image) -> Signature:
    """What is compared of an RGB picture, whatever its size. A millisecond or two."""
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small, np.float32) / np.float32(255)


def difference(one: Signature, other: Signature) -> float:
    """0 (the same) to 1 (black and white): the mean change of the twentieth of the cells that changed most."""
    changes = np.abs(one - other).mean(axis=2).ravel()  # (SIDE * SIDE,)
    count = max(round(MOST_CHANGED * changes.size), 1)
    return float(np.partition(changes, -count)[-count:].mean())
