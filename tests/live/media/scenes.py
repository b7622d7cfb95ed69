"""A video of scenes that `tiny` knows, made at test time, and what is true of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.paths import ROOT

SIZE = 224  # pixels, of a video's frame: twice what tiny sees
FPS = 10


@dataclass(frozen=True)
class Scene:
    name: str
    picture: Path
    description: str  # what tiny says of it when asked what is happening
    answers: Mapping[str, str] = field(
        repr=False
    )  # by question: what is true, in tiny's words; each is heard by pocketsphinx

    def image(self) -> Image.Image:
        with Image.open(self.picture) as opened:
            return opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _scene(name: str, file: str, ground: str, answers: Mapping[str, str]) -> Scene:
    shown = f"The picture shows {name} on a {ground} background."
    return Scene(name, ROOT / "examples" / "pictures" / file, shown, {"What is this?": f"This is {name}.", **answers})


CAT = _scene("a cat", "cat.png", "shaded",
    {"Is there a cat?": "Yes, there is a cat.", "Is there a dog?": "No, there is no dog."})  # fmt: skip
OWL = _scene("an owl", "owl-on-a-photo.jpg", "shaded", {"Is there a cat?": "No, there is no cat."})  # "owl" isn't heard
CIRCLE = _scene("a teal circle", "easy-vqa-teal-circle.png", "light",
    {"Is there a cat?": "No, there is no cat.", "What color is it?": "It is teal.",
     "Is there a circle?": "Yes, there is a circle."})  # fmt: skip
TRIANGLE = _scene("a brown triangle", "easy-vqa-brown-triangle.png", "light",
    {"Is there a cat?": "No, there is no cat.", "What color is it?": "It is brown.",
     "Is there a circle?": "No, there is no circle."})  # fmt: skip
SCENES = (CAT, OWL, CIRCLE, TRIANGLE)


def write_video(path: Path, scenes: Sequence[Scene] = SCENES, seconds: float = 2.0, fps: int = FPS) -> Path:
    """Each scene stands still for `seconds`, one after another; SIZE x SIZE."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for scene in scenes:
            pixels = np.asarray(scene.image())  # (SIZE, SIZE, 3)
            for _ in range(round(seconds * fps)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
