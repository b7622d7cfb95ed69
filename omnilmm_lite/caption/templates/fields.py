"""What a picture has to put into a template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from omnilmm_lite.caption.metadata.containers import packet_of
from omnilmm_lite.caption.metadata.xmp import MAX_BYTES, read_xmp
from omnilmm_lite.caption.tags import clean_tags
from omnilmm_lite.caption.templates.template import EXIF
from omnilmm_lite.caption.writers.places import text_path, xmp_path
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.prepared_image import PreparedImage

MAX_TEXT_BYTES = 2**16  # of a file with tags


def picture_fields(folder: Path, path: str, data: bytes, picture: PreparedImage) -> Mapping[str, str]:
    """All fields of the picture at `path` (below `folder`, posix); those that it lacks are left out."""
    where = PurePosixPath(path)
    fields = {
        "name": where.stem,
        "folder": where.parent.name or folder.resolve().name,
        "tags": ", ".join(_tags(folder, path, data)),
    }
    return fields | {EXIF + name: text for name, text in picture.exif.items()}


def _tags(folder: Path, path: str, data: bytes) -> tuple[str, ...]:
    """Keywords that somebody gave the picture: in the XMP beside it, else in its own, else in a text beside it."""
    for packet in (_read(xmp_path(folder, path), MAX_BYTES), packet_of(data)):
        if packet is not None:
            try:
                if keywords := read_xmp(packet).keywords:
                    return keywords
            except InputError:
                continue
    try:
        return clean_tags((_read(text_path(folder, path), MAX_TEXT_BYTES) or b"").decode())
    except UnicodeDecodeError:
        return ()


def _read(path: Path, most: int) -> bytes | None:
    """None where there is no file, or it can't be read, or has more than `most` bytes."""
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= most else None
    except OSError:
        return None
