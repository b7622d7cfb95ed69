"""Any of Pillow's modes to RGB, part by part: a large picture is never there a second time.

Deliberate differences to the reference, which is PIL's bare `convert("RGB")`: transparent pixels show white instead of
whatever colour hides under them, 16-bit grey keeps its tones (`convert` clips them), and a colour profile is applied.
32-bit and float grey have no fixed white and are stretched to their own range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from PIL import Image

from omnilmm_lite.picture.colour_profile import ColourProfile

ToRgb: TypeAlias = Callable[[Image.Image], Image.Image]
WITHOUT_WHITE = ("I", "F")


def to_rgb(mode: str, parts: Callable[[], Iterable[Image.Image]], profile: ColourProfile) -> ToRgb:
    """What makes RGB of any part of a picture of this mode. `parts`: all of the picture, to look at before."""
    if mode.startswith("I;16"):
        return partial(_grey16, profile)
    if mode in WITHOUT_WHITE:
        return _range_of(parts()).stretched
    return partial(_on_white, profile)


def _on_white(profile: ColourProfile, part: Image.Image) -> Image.Image:
    if not part.has_transparency_data:
        if profile.convert is not None:
            return profile.convert(part)
        return part if part.mode == "RGB" else part.convert("RGB")
    if part.mode == "La":  # premultiplied grey has no direct way to RGBA
        part = part.convert("LA")
    part = part.convert("RGBA")
    if profile.convert is not None:  # before the white comes in, which is sRGB's
        colours = profile.convert(part)
        colours.putalpha(part.getchannel("A"))
        part = colours
    return Image.alpha_composite(Image.new("RGBA", part.size, "white"), part).convert("RGB")


def _grey16(profile: ColourProfile, part: Image.Image) -> Image.Image:
    values = np.asarray(part).astype(np.uint32)  # (height, width), native byte order
    transparent = part.info.get("transparency")  # PNG's one grey value that stands for "nothing here"
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    grey = (values * 255 + 32767) // 65535  # rounded to nearest, so that 65535 is 255
    return _on_white(profile, Image.fromarray(grey.astype(np.uint8)))


@dataclass(frozen=True)
class _Range:
    """Of grey without a fixed white: the darkest finite value becomes black, the brightest white."""

    low: float
    high: float

    def stretched(self, part: Image.Image) -> Image.Image:
        values = np.asarray(part, np.float64)  # (height, width)
        span = self.high - self.low or 1.0
        grey = np.where(np.isfinite(values), (values - self.low) / span, 0.0) * 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


def _range_of(parts: Iterable[Image.Image]) -> _Range:
    low, high = np.inf, -np.inf
    for part in parts:
        values = np.asarray(part, np.float64)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return _Range(low, high) if low <= high else _Range(0.0, 0.0)
