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
    try:
        return own if own.is_file() else picture.with_suffix(XMP_ENDING)
    except OSError:  # a name that would be too long
        return picture.with_suffix(XMP_ENDING)


class Owners:
    """Which picture the files beside it belong to, for pictures that come one after the other."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def check(self, folder: Path, path: str) -> None:
        """InputError where another picture, which is still there, came first."""
        owner = self._paths.get(stem := _stem(path), path)
        if owner != path and (folder / owner).exists():
            raise InputError(f"picture: {owner!r} has the same file beside it; rename one of the two")
        self._paths[stem] = path


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix("")).lower()  # file systems may take both cases for one


def check_distinct(paths: Iterable[str]) -> None:
    """InputError where two pictures would have one file beside them."""
    taken: dict[str, str] = {}
    for path in paths:
        if (stem := _stem(path)) in taken:
            raise InputError(
                f"{taken[stem]!r} and {path!r} would have the same file beside them; rename one, or leave it out by "
                "--exclude"
            )
        taken[stem] = path
