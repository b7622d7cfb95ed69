"""Pictures: from whatever the caller has to upright RGB.

Everything is checked before it is decoded, because a few bytes can claim a picture that fills the memory.
Differences to the reference, on purpose: a photograph is turned upright by its EXIF orientation, and `rgb.py` has two
more. A JPEG with both sides of twice DRAFT_SIDE or more is decoded smaller, which takes a quarter of the memory or
less.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.file import PictureFile, picture_file
from omnilmm_lite.picture.upright import STRIP_PIXELS, UprightPicture

ImageSource: TypeAlias = str | Path | bytes | bytearray | memoryview | PictureFile | Image.Image

# Formats whose decoders are fuzzed and whose size stands in the header. No EPS (runs a program), no PSD, no icons.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# By which a file is taken for one of them before it is opened; a name says nothing more.
PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"
)  # fmt: skip
MAX_PIXELS = 89_478_485  # where Pillow itself begins to warn of a decompression bomb: 256 MiB of RGB
# A progressive JPEG is gone through once a scan, of which it may hold any number; encoders write ten or so.
MAX_SCANS = 200
MAX_SCANNED_PIXELS = 3_000_000_000  # over all scans: about ten seconds
# JPEGs are halved while decoding as long as no side gets smaller than this. At a tower's 448 pixels that moves
# photographs by 2 of 255 levels at most, noise by 3.
DRAFT_SIDE = 2048
# What decoding may take, over all that the decoder and Pillow hold at once; and bytes a pixel, where a decoder holds
# more than the picture: two canvases of libwebp's and two copies; libavif's planes, of 16 bits where a picture has more
# than 8, and two copies; libjpeg's coefficients of four colours, and a copy. Measured by benchmarks/picture_memory.py.
MAX_DECODED_BYTES = 768 * 2**20
WEBP, AVIF, JPEG_OF_SCANS = "WebP", "AVIF", "progressive JPEG"
PIXEL_BYTES = {WEBP: 16, AVIF: 16, JPEG_OF_SCANS: 12}
MAX_ASPECT = 100  # beyond it, squashing to a square leaves nothing of the picture to see

START_OF_SCAN = b"\xff\xda"

_SUPPORTED = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"


class OutOfMemory(OmniLMMError):
    """What the process may have is not enough for this picture."""


def load_image(source: ImageSource) -> Image.Image:
    """A new upright RGB picture from a path, a `file://` address, a file's bytes or a PIL image (left as it is).

    Animations give their first frame. A leading `~` is the home folder. One pixel is enough: it fills the square.
    Raises InputError where the source can't be read, is in no supported format, is damaged, has more than MAX_PIXELS,
    or has one side more than MAX_ASPECT times the other; OutOfMemory where the memory doesn't suffice for it.
    """
    with opened(source) as picture:
        return picture.whole()


@contextlib.contextmanager
def opened(source: ImageSource) -> Iterator[UprightPicture]:
    """The picture, decoded. What goes wrong in the block, while it is used, is the picture's fault or the memory's.

    Takes and raises what `load_image` does.
    """
    if isinstance(source, Image.Image):
        with _told("picture", source.size):
            yield _decoded(source, "picture")
        return
    if isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        source = picture_file(source)
    elif not isinstance(source, PictureFile):
        raise InputError(f"picture: this is {type(source).__name__}; give a path, a file's bytes or a PIL image")
    if not source.data:
        raise InputError(f"{source.label}: the file is empty; choose a {_SUPPORTED} picture")
    with _open(source) as image, _told(source.label, image.size):
        _check_size(image.size, source.label)
        if image.format in ("JPEG", "MPO"):
            scans = source.data.count(START_OF_SCAN)
            _check_scans(image.size, scans, source.label)
            image.draft(image.mode, (DRAFT_SIDE, DRAFT_SIDE))
            if scans > 1:
                _check_cost(JPEG_OF_SCANS, image.size, source.label)
        if image.format in ("WEBP", "AVIF"):
            _check_cost(WEBP if image.format == "WEBP" else AVIF, image.size, source.label)
        yield _decoded(image, source.label)


class PixelHash:
    """Of an RGB picture of this size (width, height), which is given from top to bottom."""

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self._sha256 = hashlib.sha256(f"RGB {width}x{height} ".encode())

    def add(self, strip: Image.Image) -> None:
        self._sha256.update(strip.tobytes())

    def hex(self) -> str:
        return self._sha256.hexdigest()


def pixel_hash(image: Image.Image) -> str:
    """Hex sha256 of an RGB picture's size and pixels: equal for equal pictures, wherever they came from."""
    digest, rows = PixelHash(image.size), max(1, STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        digest.add(image.crop((0, top, image.width, min(top + rows, image.height))))
    return digest.hex()


# ---- decoding ----


def _open(file: PictureFile) -> Image.Image:
    """Reads the header only."""
    label = file.label
    unknown = f"{label}: this is not a {_SUPPORTED} picture that can be read; convert it to one of these"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs: `_check_size` refuses every size that Pillow warns of
            return Image.open(io.BytesIO(file.data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{label}: {_too_large()}") from None
    except MemoryError:  # says nothing about the file
        raise OutOfMemory(f"{label}: the memory is not enough to open this picture; close other programs") from None
    except Exception:  # Pillow's plugins meet malformed headers with any exception there is
        raise InputError(unknown) from None


def _decoded(image: Image.Image, label: str) -> UprightPicture:
    """Limits first, then pixels."""
    _check_size(image.size, label)
    image.load()
    return UprightPicture(image)


@contextlib.contextmanager
def _told(label: str, size: tuple[int, int]) -> Iterator[None]:
    """One line of ours for whatever a decoder raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        width, height = size
        raise OutOfMemory(
            f"{label}: the memory is not enough for a picture of {width}x{height} pixels; close other programs, or "
            "make it smaller"
        ) from None
    except OmniLMMError:
        raise
    except Exception:  # as in `_open`: decoders meet malformed data with any exception there is
        raise InputError(f"{label}: the picture is damaged or cut short; get a complete copy of it") from None


def _too_large() -> str:
    return f"the picture has more than {MAX_PIXELS / 1e6:.0f} megapixels, the limit; make it smaller"


def _check_size(size: tuple[int, int], label: str) -> None:
    width, height = size
    if min(size) < 1:
        raise InputError(f"{label}: the picture is {width}x{height} and has no pixels; choose another one")
    if width * height > MAX_PIXELS:
        raise InputError(f"{label}: {_too_large()}")
    if max(size) > MAX_ASPECT * min(size):
        raise InputError(
            f"{label}: the picture is {width}x{height}, one side more than {MAX_ASPECT} times the other; crop it"
        )


def _check_cost(kind: str, size: tuple[int, int], label: str) -> None:
    """`kind`: one of PIXEL_BYTES."""
    pixels, most = size[0] * size[1], MAX_DECODED_BYTES // PIXEL_BYTES[kind]
    if pixels > most:
        raise InputError(
            f"{label}: a {kind} of {pixels / 1e6:.0f} megapixels takes too much memory, the limit is {most / 1e6:.0f}; "
            "make it smaller, or save it as a plain JPEG or PNG"
        )


def _check_scans(size: tuple[int, int], scans: int, label: str) -> None:
    """`scans`: their marks in the whole file, those of previews included; a mark can't be part of a picture's data."""
    if scans > MAX_SCANS or scans * size[0] * size[1] > MAX_SCANNED_PIXELS:
        raise InputError(
            f"{label}: the JPEG of {size[0]}x{size[1]} pixels has {scans} scans, which would take minutes to decode; "
            "save it anew"
        )
