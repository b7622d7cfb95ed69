"""easy-VQA (PyPI `easy-vqa`, MIT): its published splits, and the silhouettes of the train split's shapes."""

from __future__ import annotations

import re
from dataclasses import dataclass

import easy_vqa
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from examples.tiny.dataset.scene import SHAPE_COLORS, SHAPES

SIDE = 64  # pixels of easy-VQA's pictures

_COLOR = "|".join(SHAPE_COLORS)
_SHAPE = "|".join(SHAPES)


@dataclass(frozen=True)
class Question:
    text: str
    answer: str
    picture: int

    @property
    def type(self) -> str:
        """`yes/no`, `colour` or `shape`, by the answer's kind."""
        if self.answer in ("yes", "no"):
            return "yes/no"
        return "shape" if self.answer in SHAPES else "colour"

    @property
    def template(self) -> str:
        """The wording with C for a colour and S for a shape."""
        return re.sub(rf"\b({_SHAPE})\b", "S", re.sub(rf"\b({_COLOR})\b", "C", self.text))


@dataclass(frozen=True)
class Silhouette:
    """One train picture taken apart: what it shows and the shape's coverage of its bounding box."""

    shape: str
    color: str
    alpha: NDArray[np.float32]  # (height, width)
    left: int
    top: int


def questions(split: str) -> list[Question]:
    """`split`: "train" or "test"; the package's own order."""
    read = {"train": easy_vqa.get_train_questions, "test": easy_vqa.get_test_questions}[split]
    return [Question(*row) for row in zip(*read(), strict=True)]


def pictures(split: str) -> dict[int, Image.Image]:
    """Every picture of the split in RGB, by its number."""
    read = {"train": easy_vqa.get_train_image_paths, "test": easy_vqa.get_test_image_paths}[split]
    opened = {}
    for number, path in sorted(read().items()):
        with Image.open(path) as picture:
            opened[number] = picture.convert("RGB")
    return opened


def facts(asked: list[Question]) -> dict[int, tuple[str, str]]:
    """(shape, colour) of every picture whose questions tell both."""
    known: dict[int, dict[str, str]] = {}
    for question in asked:
        if question.type != "yes/no":
            known.setdefault(question.picture, {})[question.type] = question.answer
    return {number: (found["shape"], found["colour"]) for number, found in known.items() if len(found) == 2}


def silhouette(picture: Image.Image) -> tuple[NDArray[np.float32], str, int, int]:
    """The shape's coverage (height, width), its colour's name, and the box's left and top.

    The ground is the commonest colour, the shape the commonest of easy-VQA's eight.
    """
    pixels = np.asarray(picture, np.float32)  # (64, 64, 3)
    flat = pixels.reshape(-1, 3)
    codes = flat @ np.array([1, 256, 65536], np.float32)  # one number a colour, exact in float32
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    ground = flat[first[counts.argmax()]]
    color = max(SHAPE_COLORS, key=lambda name: int((flat == SHAPE_COLORS[name]).all(1).sum()))
    direction = np.asarray(SHAPE_COLORS[color], np.float32) - ground
    alpha = np.clip((pixels - ground) @ direction / (direction @ direction), 0, 1)  # (64, 64)
    rows, columns = np.nonzero(alpha > 0.02)
    top, left = int(rows.min()), int(columns.min())
    return alpha[top : rows.max() + 1, left : columns.max() + 1], color, left, top


def silhouettes() -> dict[int, Silhouette]:
    """Of the train split's pictures only."""
    shown = pictures("train")
    found = {}
    for number, (shape, color) in facts(questions("train")).items():
        alpha, seen, left, top = silhouette(shown[number])
        if seen == color:
            found[number] = Silhouette(shape, color, alpha, left, top)
    return found
