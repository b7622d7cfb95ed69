"""Pictures: from whatever the caller has to upright RGB.

Everything is checked before it is decoded, because a few bytes can claim a picture that fills the memory.
Differences to the reference, on purpose: a photograph is turned upright by its EXIF orientation, and `rgb.py` has three
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

from PIL import Image, features

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture import heif
from omnilmm_lite.picture.exif import camera_entries
from omnilmm_lite.picture.file import PictureFile, picture_file
from omnilmm_lite.picture.kinds.kind import READ, Kind
from omnilmm_lite.picture.kinds.signatures import kind_of
from omnilmm_lite.picture.upright import STRIP_PIXELS, UprightPicture

ImageSource: TypeAlias = str | Path | bytes | bytearray | memoryview | PictureFile | Image.Image

# Formats whose decoders are fuzzed and whose size stands in the header. No EPS (runs a program), no PSD, no icons.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# By which a file is taken for one of them, or for HEIC, before it is opened; a name says nothing more.
PICTURE_SUFFIXES = tuple(suffix for kind in (*READ, Kind.HEIC) for suffix in kind.suffixes)
MAX_PIXELS = 89_478_485  # where Pillow itself begins to warn of a decompression bomb: 256 MiB of RGB
# A progressive JPEG is gone through once a scan, of which it may hold any number; encoders write ten or so.
MAX_SCANS = 200
MAX_SCANNED_PIXELS = 3_000_000_000  # over all scans: about ten seconds
# JPEGs are halved while decoding as long as no side gets smaller than this. At a tower's 448 pixels that moves
# photographs by 2 of 255 levels at most, noise by 3.
DRAFT_SIDE = 2048
# What decoding may take, over all that the decoder and Pillow hold at once; and bytes a pixel, where a decoder holds
# more than the picture: two canvases of libwebp's and two copies; libavif's planes, of 16 bits where a picture has more
# than 8, and two copies; libjpeg's coefficients of four colours, and a copy; libheif's planes, tiles and two copies.
# Measured by benchmarks/picture_memory.py.
MAX_DECODED_BYTES = 768 * 2**20
WEBP, AVIF, HEIC, JPEG_OF_SCANS = "WebP", "AVIF", "HEIC", "progressive JPEG"
PIXEL_BYTES = {WEBP: 16, AVIF: 16, HEIC: 16, JPEG_OF_SCANS: 12}
_COSTLY = {"WEBP": WEBP, "AVIF": AVIF, "HEIF": HEIC}
MAX_ASPECT = 100  # beyond it, squashing to a square leaves nothing of the picture to see

START_OF_SCAN = b"\xff\xda"

_SUPPORTED = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"


class OutOfMemory(OmniLMMError):
    """What the process may have is not enough for this picture."""


def load_image(source: ImageSource, *, ignore_colour_profile: bool = False) -> Image.Image:
    """A new upright RGB picture from a path, a `file://` address, a file's bytes or a PIL image (left as it is).

    Animations give their first frame, files of several pictures the primary one. A leading `~` is the home folder. One
    pixel is enough: it fills the square. Colours are sRGB's, by the picture's profile if it has one that can be used;
    `ignore_colour_profile` leaves its numbers as they are, as the reference does.
    Raises InputError where the source can't be read, is in no supported format, is damaged, has more than MAX_PIXELS,
    or has one side more than MAX_ASPECT times the other; OutOfMemory where the memory doesn't suffice for it.
    """
    with opened(source, ignore_colour_profile=ignore_colour_profile) as picture:
        return picture.whole()


@contextlib.contextmanager
def opened(source: ImageSource, *, ignore_colour_profile: bool = False) -> Iterator[UprightPicture]:
    """The picture, decoded. What goes wrong in the block, while it is used, is the picture's fault or the memory's.

    Takes and raises what `load_image` does.
    """
    if isinstance(source, Image.Image):
        with _told("picture", source.size):
            yield _decoded(source, "picture", ignore_colour_profile=ignore_colour_profile)
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
        if image.format in _COSTLY:
            _check_cost(_COSTLY[image.format], image.size, source.label)
        yield _decoded(image, source.label, ignore_colour_profile=ignore_colour_profile)


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
    label, kind = file.label, kind_of(file.data)
    if kind is not None and kind not in (*READ, Kind.HEIC):  # some of which Pillow would take for a TIFF
        raise _refused(label, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs: `_check_size` refuses every size that Pillow warns of
            if kind is Kind.HEIC:
                return heif.open_heif(file.data)
            return Image.open(io.BytesIO(file.data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{label}: {_too_large()}") from None
    except MemoryError:  # says nothing about the file
        raise OutOfMemory(f"{label}: the memory is not enough to open this picture; close other programs") from None
    except ImportError:
        raise _refused(label, Kind.HEIC) from None
    except Exception:  # Pillow's plugins meet malformed headers with any exception there is
        raise _unopened(label, kind) from None


def _refused(label: str, kind: Kind) -> InputError:
    return InputError(f"{label}: this is not a {_SUPPORTED} picture but {kind.label}; {kind.advice}")


def _unopened(label: str, kind: Kind | None) -> InputError:
    if kind is None:
        return InputError(f"{label}: this is not a {_SUPPORTED} picture that can be read; convert it to one of these")
    if kind is Kind.AVIF and not features.check("avif"):
        return InputError(f"{label}: this is AVIF, which Pillow was built without here; save it as JPEG or PNG")
    why = "damaged at its beginning, or of a rare sort that can't be read; get another copy, or save it anew"
    return InputError(f"{label}: this {kind.label} picture is {why}")


def _decoded(image: Image.Image, label: str, *, ignore_colour_profile: bool) -> UprightPicture:
    """Limits first, then pixels."""
    _check_size(image.size, label)
    if image.format == "TIFF":
        camera_entries(image)  # remembered; its directories can't be read once the pixels are
    image.load()
    return UprightPicture(image, ignore_colour_profile=ignore_colour_profile)


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
