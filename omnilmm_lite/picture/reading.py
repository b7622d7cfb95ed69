"""Pictures: from whatever the caller has to upright RGB.

Everything is checked before it is decoded, because a few bytes can claim a picture that fills the memory.
Two deliberate differences to the reference, which is PIL's bare `convert("RGB")`: a photograph is turned upright by
its EXIF orientation, and transparent pixels show white instead of whatever colour hides under them. 16-bit grey keeps
its tones (`convert` clips them); 32-bit and float grey have no fixed white and are stretched to their own range.
A JPEG with both sides of twice DRAFT_SIDE or more is decoded smaller, which takes a quarter of the memory or less.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import numpy.typing as npt
from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable

ImageSource: TypeAlias = str | Path | bytes | bytearray | memoryview | Image.Image

# Formats whose decoders are fuzzed and whose size stands in the header. No EPS (runs a program), no PSD, no icons.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# By which a file is taken for one of them before it is opened; a name says nothing more.
PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"
)  # fmt: skip
MAX_FILE_BYTES = 512 * 2**20
LONGEST_PATH = 4096  # characters; Linux takes as many bytes
MAX_PIXELS = 89_478_485  # where Pillow itself begins to warn of a decompression bomb: 256 MiB of RGB
# A progressive JPEG is gone through once a scan, of which it may hold any number; encoders write ten or so.
MAX_SCANS = 200
MAX_SCANNED_PIXELS = 3_000_000_000  # over all scans: about ten seconds
# JPEGs are halved while decoding as long as no side gets smaller than this. At a tower's 448 pixels that moves
# photographs by 2 of 255 levels at most, noise by 3.
DRAFT_SIDE = 2048
MAX_ASPECT = 100  # beyond it, squashing to a square leaves nothing of the picture to see

START_OF_SCAN = b"\xff\xda"

_SUPPORTED = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

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


def load_image(source: ImageSource) -> Image.Image:
    """A new upright RGB picture from a path, a `file://` address, a file's bytes or a PIL image (left as it is).

    Animations give their first frame. A leading `~` is the home folder. One pixel is enough: it fills the square.
    Raises InputError where the source can't be read, is in no supported format, is damaged, has more than MAX_PIXELS,
    or has one side more than MAX_ASPECT times the other; OmniLMMError where the memory doesn't suffice for it.
    """
    if isinstance(source, Image.Image):
        return _decode(source, "picture")
    if isinstance(source, (bytes, bytearray, memoryview)):
        label, data = "picture", bytes(source)
        _check_bytes(len(data), label)
    elif isinstance(source, (str, Path)):
        path = _path(source)
        label, data = printable(str(path), None), _read(path)
    else:
        raise InputError(f"picture: this is {type(source).__name__}; give a path, a file's bytes or a PIL image")
    if not data:
        raise InputError(f"{label}: the file is empty; choose a {_SUPPORTED} picture")
    with _open(data, label) as image:
        if image.format in ("JPEG", "MPO"):
            _check_size(image.size, label)
            _check_scans(image.size, data.count(START_OF_SCAN), label)
            image.draft(image.mode, (DRAFT_SIDE, DRAFT_SIDE))
        return _decode(image, label)


def pixel_hash(image: Image.Image) -> str:
    """Hex sha256 of the picture's size, mode and pixels: equal for equal pictures, wherever they came from."""
    header = f"{image.mode} {image.width}x{image.height} ".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


# ---- reading ----


def _path(source: str | Path) -> Path:
    text = str(source)
    label = printable(text, None)
    if not text:
        raise InputError("picture: the path is empty; name a picture file")
    if len(text) > LONGEST_PATH:
        raise InputError(f"{printable(text, 40)}: a path of {len(text)} characters can't be read; check its spelling")
    if text.lower().startswith(("http://", "https://")):
        raise InputError(f"{label}: pictures are not fetched from the network; download it and name the file")
    try:
        if text.lower().startswith("file://"):
            address = urlsplit(text)
            if address.netloc not in ("", "localhost"):
                raise InputError(f"{label}: the address names another machine; copy the picture here")
            return Path(url2pathname(address.path))
        return Path(text).expanduser()
    except (ValueError, RuntimeError):  # a malformed address, or `~` of a user that doesn't exist
        raise InputError(f"{label}: there is no such path; check its spelling") from None


def _read(path: Path) -> bytes:
    """The file's bytes. Only regular files: opening a pipe or a device could wait for ever."""
    label = printable(str(path), None)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{label}: this is a folder; name one picture file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{label}: this is not a regular file; save the picture to one")
        _check_bytes(status.st_size, label)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{label}: there is no such file; check the path") from None
    except PermissionError:
        raise InputError(f"{label}: no permission to read this file; change its rights or copy it") from None
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        raise InputError(f"{label}: this file can't be read; check the path and the disk") from None


def _check_bytes(size: int, label: str) -> None:
    if size > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES // 2**20
        raise InputError(f"{label}: the file has {size / 2**20:.0f} MiB, the limit is {limit} MiB; make it smaller")


# ---- decoding ----


def _open(data: bytes, label: str) -> Image.Image:
    """Reads the header only."""
    unknown = f"{label}: this is not a {_SUPPORTED} picture that can be read; convert it to one of these"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs: `_check_size` refuses every size that Pillow warns of
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{label}: {_too_large()}") from None
    except MemoryError:  # says nothing about the file
        raise OmniLMMError(f"{label}: the memory is not enough to open this picture; close other programs") from None
    except Exception:  # Pillow's plugins meet malformed headers with any exception there is
        raise InputError(unknown) from None


def _decode(image: Image.Image, label: str) -> Image.Image:
    """Limits first, then pixels, then upright, then RGB."""
    _check_size(image.size, label)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            rgb = _to_rgb(_upright(image))
    except MemoryError:
        width, height = image.size
        raise OmniLMMError(
            f"{label}: the memory is not enough for a picture of {width}x{height} pixels; close other programs, or "
            "make it smaller"
        ) from None
    except Exception:  # as in `_open`: decoders meet malformed data with any exception there is
        raise InputError(f"{label}: the picture is damaged or cut short; get a complete copy of it") from None
    rgb.info = {}  # no orientation is left to apply twice
    return rgb


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


def _check_scans(size: tuple[int, int], scans: int, label: str) -> None:
    """`scans`: their marks in the whole file, those of previews included; a mark can't be part of a picture's data."""
    if scans > MAX_SCANS or scans * size[0] * size[1] > MAX_SCANNED_PIXELS:
        raise InputError(
            f"{label}: the JPEG of {size[0]}x{size[1]} pixels has {scans} scans, which would take minutes to decode; "
            "save it anew"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a broken EXIF block is no reason to refuse sound pixels
        return image
    method = _UNDO.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes to a new RGB picture."""
    if image.mode.startswith("I;16"):
        return _grey16_to_rgb(image)
    if image.mode in ("I", "F"):
        return _stretched(np.asarray(image, np.float64))
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # premultiplied grey has no direct way to RGBA
        image = image.convert("LA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _grey16_to_rgb(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)  # (height, width), native byte order
    transparent = image.info.get("transparency")  # PNG's one grey value that stands for "nothing here"
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    grey = (values * 255 + 32767) // 65535  # rounded to nearest, so that 65535 is 255
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _stretched(values: npt.NDArray[np.float64]) -> Image.Image:
    """Grey without a fixed white: the darkest finite value becomes black, the brightest white."""
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    span = high - low or 1.0
    grey = np.where(finite, (values - low) / span, 0.0) * 255
    return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
