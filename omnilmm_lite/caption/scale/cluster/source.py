"""What is to be described: found by the driver, cut into units, each read by a task of its own."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from omnilmm_lite.caption.scale.cluster.store import Store
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.picture.listing import Filter


class Holder(Enum):
    """What a file of a source is."""

    PICTURE = "picture"
    PARQUET = "parquet"
    TSV = "tsv"
    WEBDATASET = "tar"

    @property
    def holds_many(self) -> bool:
        return self is not Holder.PICTURE


HOLDERS = {".parquet": Holder.PARQUET, ".tsv": Holder.TSV, ".tar": Holder.WEBDATASET}
LISTS = (".txt", ".lst")


@dataclass(frozen=True)
class File:
    """`path` is the row's, or what rows of it begin with; `place`: where it is read; `known`: of each row's path that
    is written already the hashes of what it held then."""

    path: str
    place: str
    version: str
    holder: Holder
    known: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Written:
    """A row of an earlier run."""

    sha256: str | None
    version: str | None


Rows = Mapping[str, Sequence[Written]]  # by path


def find_files(source: str, chosen: Filter, written: Rows) -> Iterator[File]:
    """The files of a source that may hold a picture without a row: pictures of a folder (where it has none, its tables
    and archives), those that a list names, or one table or archive. Pictures that have a row and haven't changed since
    are left out without being read. InputError where there is nothing of the kind."""
    inside = _inside(written)
    is_any = False
    for path, place, version, holder in _listed(source, chosen):
        is_any = True
        rows = written.get(path, ())
        if holder is Holder.PICTURE:
            if not any(row.version == version for row in rows):
                yield File(path, place, version, holder, {path: _hashes(rows)} if rows else {})
        else:
            yield File(path, place, version, holder, inside.get(path, {}))
    if not is_any:
        raise InputError(
            f"{printable(source, None)}: there is no picture; name a folder with some, a list of paths (.txt), a table "
            "(.parquet, .tsv) or an archive (.tar)"
        )


def _listed(source: str, chosen: Filter) -> Iterator[tuple[str, str, str, Holder]]:
    store = Store(source)
    suffix = posixpath.splitext(source)[1].lower()
    if store.is_folder():
        found = [*store.find()]
        pictures = [each for each in found if _is_chosen(each.path, chosen)]
        tables = [each for each in found if posixpath.splitext(each.path)[1].lower() in HOLDERS]
        for each in pictures or tables:
            holder = Holder.PICTURE if pictures else HOLDERS[posixpath.splitext(each.path)[1].lower()]
            yield each.path, f"{source.rstrip('/')}/{each.path}", each.version, holder
    elif not store.is_file():
        raise InputError(f"{printable(source, None)}: there is no such folder or file; check its spelling")
    elif suffix in HOLDERS:
        yield posixpath.basename(source), source, store.version(), HOLDERS[suffix]
    elif suffix in LISTS:
        folder = posixpath.dirname(source)
        for line in dict.fromkeys(store.read().decode("utf-8", "replace").splitlines()):
            if line.strip():
                place = line if "://" in line or line.startswith("/") or not folder else f"{folder}/{line}"
                yield line, place, _version(place), Holder.PICTURE
    else:
        raise InputError(f"{printable(source, None)}: it is no folder, list (.txt), table (.parquet, .tsv) or .tar")


def _is_chosen(path: str, chosen: Filter) -> bool:
    """As a walk through folders would find it: none is entered that is left out."""
    folders = [*accumulate(path.split("/")[:-1], posixpath.join)]
    if folders and not chosen.recursive:
        return False
    return chosen.takes(path) and not any(chosen.excludes(folder) for folder in folders)


def _version(place: str) -> str:
    """Of what a list names; a picture that is missing gets a row that says so."""
    store = Store(place)
    return store.version() if store.is_file() else "missing"


def _inside(written: Rows) -> dict[str, dict[str, tuple[str, ...]]]:
    """By table or archive: `shard.tar#cat.jpg` stands in `shard.tar`."""
    inside: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for path, rows in written.items():
        holder, mark, _ = path.partition("#")
        if mark:
            inside[holder][path] = _hashes(rows)
    return inside


def _hashes(rows: Sequence[Written]) -> tuple[str, ...]:
    return tuple(row.sha256 for row in rows if row.sha256 is not None)
