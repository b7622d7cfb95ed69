"""Names of the files beside a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from omnilmm_lite.errors import InputError

TEXT_ENDING, XMP_ENDING = ".txt", ".xmp"
BACKUP_ENDING = "_original"  # as exiftool has it


def text_path(folder: Path, path: str) -> Path:
    """`cat.txt` of `cat.jpg`: what training programs look for."""
    return (folder / path).with_suffix(TEXT_ENDING)


def xmp_path(folder: Path, path: str) -> Path:
    """`cat.xmp` of `cat.jpg`, as Adobe's programs have it; `cat.jpg.xmp`, darktable's, where that is there."""
    picture = folder / path
    own = picture.with_name(picture.name + XMP_ENDING)
    return own if own.is_file() else picture.with_suffix(XMP_ENDING)


def check_distinct(paths: Iterable[str]) -> None:
    """InputError where two pictures would have one file beside them."""
    taken: dict[str, str] = {}
    for path in paths:
        stem = str(PurePosixPath(path).with_suffix("")).lower()  # file systems may take both cases for one
        if stem in taken:
            raise InputError(
                f"{taken[stem]!r} and {path!r} would have the same file beside them; rename one, or leave it out by "
                "--exclude"
            )
        taken[stem] = path
