"""Which files of a folder are pictures, in an order that doesn't change."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.heif import is_available
from omnilmm_lite.picture.kinds.kind import HEIC_PACKAGE, READ, Kind

_BY_SUFFIX = {suffix: kind for kind in Kind for suffix in kind.suffixes}


def read_kinds() -> tuple[Kind, ...]:
    """Those whose files can be read here."""
    return (*READ, Kind.HEIC) if is_available() else READ


@dataclass(frozen=True)
class Filter:
    """Which files are taken. Patterns are held against the name and against the path below the folder; case is equal.

    Without `include`, the ending of a kind that can be read here decides. A folder that `exclude` matches is not
    entered.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    recursive: bool = True

    def takes(self, path: str) -> bool:
        """Whether the file at `path` (relative, posix) is a picture that is wanted."""
        if self.excludes(path):
            return False
        return _matches(path, self.include) if self.include else _kind(path) in read_kinds()

    def passes_over(self, path: str) -> Kind | None:
        """The kind, by its ending, of a picture or video that would be wanted if it could be read."""
        if self.include or self.excludes(path):
            return None
        kind = _kind(path)
        return None if kind in read_kinds() else kind

    def excludes(self, path: str) -> bool:
        return _matches(path, self.exclude)


@dataclass(frozen=True)
class Listing:
    """Paths below the folder, posix, sorted; the folders that could not be read; and how many files of which kinds
    that can't be read were passed over."""

    paths: tuple[str, ...]
    unreadable: tuple[str, ...]
    passed_over: Mapping[Kind, int] = field(default_factory=dict)

    def told_passed_over(self) -> str:
        """One line that names them; empty where there are none."""
        if not self.passed_over:
            return ""
        total = sum(self.passed_over.values())
        shown = ", ".join(f"{count} {_plain(kind)}" for kind, count in Counter(self.passed_over).most_common())
        hint = f" ({HEIC_PACKAGE} lets HEIC be read)" if Kind.HEIC in self.passed_over else ""
        return f"{total} file{'s' * (total > 1)} of kinds that can't be read: {shown}{hint}"


def list_pictures(folder: Path, chosen: Filter, leave_out: Sequence[Path] = (), *, allow_none: bool = False) -> Listing:
    """The pictures of `folder`, without hidden ones and those of `leave_out`.

    Links to files are taken, links to folders are not entered, so no loop of links can trap it. InputError where the
    folder isn't there, or, without `allow_none`, has no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; name one that holds pictures")
    unreadable: list[str] = []
    own = {_identity(path) for path in leave_out} - {None}
    found = []
    passed_over: Counter[Kind] = Counter()
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(str(error.filename))):
        below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        visible = [name for name in folders if not name.startswith(".") and not chosen.excludes(str(below / name))]
        folders[:] = visible if chosen.recursive else []
        for name in names:
            path = str(below / name)
            if name.startswith("."):
                continue
            if not chosen.takes(path):
                if (kind := chosen.passes_over(path)) is not None:
                    passed_over[kind] += 1
            elif _identity(Path(parent, name)) not in own:
                found.append(path)
    listing = Listing(tuple(sorted(found)), tuple(unreadable), dict(passed_over))
    if not found and not allow_none:
        why = f" ({unreadable[0]} can't be read)" if unreadable else ""
        why += f" ({listing.told_passed_over()})" if passed_over else ""
        endings = " ".join(suffix for kind in read_kinds() for suffix in kind.suffixes)
        what = "no file that --include and --exclude leave" if chosen.include else f"no picture ({endings})"
        raise InputError(f"{folder}: there is {what} in this folder{why}; name another one")
    return listing


def _kind(path: str) -> Kind | None:
    """By its ending."""
    return _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())


def _plain(kind: Kind) -> str:
    """Without the article: a number stands before it."""
    return kind.label.removeprefix("a ").removeprefix("an ")


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
