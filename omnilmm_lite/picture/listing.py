"""Which files of a folder are pictures, in an order that doesn't change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.reading import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Filter:
    """Which files are taken. Patterns are held against the name and against the path below the folder; case is equal.

    Without `include`, a picture's ending decides. A folder that `exclude` matches is not entered.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    recursive: bool = True

    def takes(self, path: str) -> bool:
        """Whether the file at `path` (relative, posix) is a picture that is wanted."""
        if self.excludes(path):
            return False
        return _matches(path, self.include) if self.include else path.lower().endswith(PICTURE_SUFFIXES)

    def excludes(self, path: str) -> bool:
        return _matches(path, self.exclude)


@dataclass(frozen=True)
class Listing:
    """Paths below the folder, posix, sorted; and the folders that could not be read."""

    paths: tuple[str, ...]
    unreadable: tuple[str, ...]


def list_pictures(folder: Path, chosen: Filter, leave_out: Sequence[Path] = ()) -> Listing:
    """The pictures of `folder`, without hidden ones and those of `leave_out`.

    Links to files are taken, links to folders are not entered, so no loop of links can trap it. InputError where the
    folder isn't there, or has no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; name one that holds pictures")
    unreadable: list[str] = []
    own = {_identity(path) for path in leave_out} - {None}
    found = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(str(error.filename))):
        below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        visible = [name for name in folders if not name.startswith(".") and not chosen.excludes(str(below / name))]
        folders[:] = visible if chosen.recursive else []
        for name in names:
            wanted = not name.startswith(".") and chosen.takes(str(below / name))
            if wanted and _identity(Path(parent, name)) not in own:
                found.append(str(below / name))
    if not found:
        why = f" ({unreadable[0]} can't be read)" if unreadable else ""
        endings = " ".join(PICTURE_SUFFIXES)
        what = "no file that --include and --exclude leave" if chosen.include else f"no picture ({endings})"
        raise InputError(f"{folder}: there is {what} in this folder{why}; name another one")
    return Listing(tuple(sorted(found)), tuple(unreadable))


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, however its path is spelled: by a link, or where case is equal. None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None  # 0: the file system numbers none


def _matches(path: str, patterns: Sequence[str]) -> bool:
    whole = path.lower()
    name = whole.rpartition("/")[2]
    return any(fnmatchcase(name, each) or fnmatchcase(whole, each) for each in map(str.lower, patterns))
