"""A decoded picture as it is meant to be seen, upright and RGB, in strips from top to bottom.

The whole of it in RGB, beside what was decoded, would be the memory of two pictures.
"""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from omnilmm_lite.picture.colour_profile import ColourProfile, colour_profile
from omnilmm_lite.picture.exif import exif_fields
from omnilmm_lite.picture.rgb import to_rgb

STRIP_PIXELS = 2**20

# EXIF tag 274 says how the camera was held; these undo it. 1 is upright. Pillow's `exif_transpose` writes the block's
# rest anew, which fails where an entry there has an odd type, and it copies what is upright already.
_ORIENTATION_TAG = 274
_UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_FROM_THE_END = (3, 4, 7, 8)  # what is seen first stands last in the file, by rows or, sideways, by columns


class UprightPicture:
    """Of an image that is decoded, of any mode. `remark` says what of it had to be ignored, if anything."""

    def __init__(self, image: Image.Image, *, ignore_colour_profile: bool = False) -> None:
        self._image, self._orientation = image, _orientation(image)
        self._profile = ColourProfile() if ignore_colour_profile else colour_profile(image)
        self.remark = self._profile.remark
        width, height = image.size
        self.size = (height, width) if self._orientation in _SIDEWAYS else (width, height)

    def exif(self) -> dict[str, str]:
        """See `exif_fields`."""
        return exif_fields(self._image)

    def strips(self) -> Iterator[Image.Image]:
        """RGB, as wide as the picture; the last may be lower than the others."""
        convert = to_rgb(self._image.mode, self._parts, self._profile)
        return map(convert, self._parts())

    def whole(self) -> Image.Image:
        """A new RGB picture."""
        whole, top = Image.new("RGB", self.size), 0
        for strip in self.strips():
            whole.paste(strip, (0, top))
            top += strip.height
        return whole

    def _parts(self) -> Iterator[Image.Image]:
        """Strips in the image's own mode."""
        width, height = self.size
        rows = max(1, STRIP_PIXELS // width)
        method = _UNDO.get(self._orientation)
        for top in range(0, height, rows):
            part = self._image.crop(self._box(top, min(top + rows, height)))
            yield part if method is None else part.transpose(method)

    def _box(self, top: int, bottom: int) -> tuple[int, int, int, int]:
        """Where in the image these upright rows are."""
        height = self.size[1]
        if self._orientation in _FROM_THE_END:
            top, bottom = height - bottom, height - top
        if self._orientation in _SIDEWAYS:
            return top, 0, bottom, self._image.height
        return 0, top, self._image.width, bottom


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a broken EXIF block is no reason to refuse sound pixels
        return 1
    return orientation if isinstance(orientation, int) else 1
