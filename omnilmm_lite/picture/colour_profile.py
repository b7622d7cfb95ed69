"""Colours as they were meant: from the profile that lies in a picture's file to sRGB, which the model was trained on.

A deliberate difference to the reference, which takes the numbers as they are: those of a wide-gamut photograph, read as
sRGB, look dull. Relative colorimetric, with black point compensation, by LittleCMS.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageCms

Convert: TypeAlias = Callable[[Image.Image], Image.Image]

MAX_PROFILE_BYTES = 16 * 2**20  # those of printing presses have 2
DAMAGED = "its colour profile is damaged or of another kind of picture, and is ignored"
# A profile that moves no colour by more is sRGB under another name; then the numbers stay as they are.
SAME_LEVELS = 1
_PROBE_STEPS = 9  # a colour, so many to the third are looked at
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_OWN_COLOURS = ("LAB", "HSV", "I", "F")  # modes whose numbers no profile is about, or that are stretched anyway


@dataclass(frozen=True)
class ColourProfile:
    """What is to be done with the colours of one picture; `remark` is for the user, and empty where all is well."""

    convert: Convert | None = None  # a part of the picture, RGB, L or CMYK -> RGB; None: as ever
    mode: str = ""  # which of these it takes
    remark: str = ""


def colour_profile(image: Image.Image) -> ColourProfile:
    """That of an opened image; one that does nothing where there is none, or it is sRGB, or it can't be used."""
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not data or image.mode in _OWN_COLOURS:
        return ColourProfile()
    if len(data) > MAX_PROFILE_BYTES:  # before one is remembered, which would keep it for pictures to come
        return ColourProfile(remark=DAMAGED)
    is_grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I;16")
    return _profile(data, "CMYK" if image.mode == "CMYK" else "L" if is_grey else "RGB")


@lru_cache(maxsize=4)  # a folder's pictures mostly have the same one
def _profile(data: bytes, mode: str) -> ColourProfile:
    """`mode`: what the picture's parts can be had as."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        if mode == "L" and space == "RGB":  # grey that was saved with the profile of its colours
            mode = "RGB"
        if space != {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[mode]:
            return ColourProfile(remark=DAMAGED)
        transform = ImageCms.buildTransform(profile, _srgb(), mode, "RGB", renderingIntent=_INTENT, flags=_FLAGS)
        if mode != "CMYK" and _changes_nothing(transform, mode):
            return ColourProfile()
    except MemoryError:
        raise
    except Exception:  # LittleCMS and its binding meet malformed profiles with several
        return ColourProfile(remark=DAMAGED)

    def convert(part: Image.Image) -> Image.Image:
        found = ImageCms.applyTransform(part if part.mode == mode else part.convert(mode), transform)
        assert found is not None  # None only where it is done in place
        return found

    return ColourProfile(convert, mode)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "L":
        probe = Image.linear_gradient("L")
    else:
        levels = np.linspace(0, 255, _PROBE_STEPS).round().astype(np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(_PROBE_STEPS, -1, 3)
        probe = Image.fromarray(colours)
    found = ImageCms.applyTransform(probe, transform)
    assert found is not None
    moved = np.abs(np.asarray(found).astype(int) - np.asarray(probe.convert("RGB")).astype(int))
    return int(moved.max()) <= SAME_LEVELS
