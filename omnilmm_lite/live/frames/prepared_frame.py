"""A frame made ready: for the tower, and for comparing."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from omnilmm_lite.live.frames.difference import Signature, difference, signature
from omnilmm_lite.live.frames.frame import Frame
from omnilmm_lite.picture.prepared_image import PreparedImage

THUMBNAIL_SIDE = 160  # pixels at most
THUMBNAIL_QUALITY = 75


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    frame: Frame
    signature: Signature
    image: PreparedImage

    def looks_like(self, other: Signature, threshold: float) -> bool:
        """Whether a picture of that signature differs by less than `threshold`."""
        return difference(self.signature, other) < threshold


def signature_of(frame: Frame) -> Signature:
    """A millisecond or two: call it in a thread."""
    return signature(frame.picture)


def thumbnail_of(frame: Frame) -> bytes:
    """A JPEG of at most THUMBNAIL_SIDE pixels a side. Milliseconds: call it in a thread."""
    small = frame.picture.copy() if max(frame.picture.size) <= THUMBNAIL_SIDE else _smaller(frame.picture)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _smaller(picture: Image.Image) -> Image.Image:
    scale = THUMBNAIL_SIDE / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
