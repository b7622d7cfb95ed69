"""What earlier starts found out about a bundle's large files, in the user's cache.

A convenience, never a promise: where it can't be read or written, everything is checked anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from omnilmm_lite.bundle.integrity.file_entry import FileEntry
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json

HOME_VARIABLE = "OMNILMM_HOME"  # as `omnilmm_lite.home.folder` has it
GOOD_FOR_S = 30 * 86400  # then a file is hashed again: bits flip without changing a date


@dataclass(frozen=True)
class Identity:
    """What the system says of a file: another one where it was written to, as far as the system can tell."""

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int  # of name, rights or content; on Windows when it was made

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True)
class FileState:
    """How far the check of a file has come."""

    identity: Identity
    sha256: str  # the manifest's
    whole_pieces: int = 0  # of the file's, from its start on: they held what they should
    damaged_piece: int | None = None
    finished_at: float | None = None  # seconds since 1970

    def fits(self, identity: Identity, entry: FileEntry) -> bool:
        """Whether it was found out about this very file. A record may be damaged, too: numbers that no check writes
        would keep the file from ever being checked."""
        most, is_damaged = len(entry.pieces), self.damaged_piece is not None
        is_possible = (
            0 <= self.whole_pieces <= most - is_damaged
            and self.damaged_piece in (None, self.whole_pieces)
            and (self.finished_at is not None) == (self.whole_pieces == most)
        )
        return is_possible and self.identity == identity and self.sha256 == entry.sha256

    def is_fresh(self) -> bool:
        """Whether the file was checked wholly, and not long ago."""
        return self.finished_at is not None and 0 <= time.time() - self.finished_at < GOOD_FOR_S


@dataclass(frozen=True)
class Record:
    """Of one bundle; `folder` says which, for people."""

    folder: str
    files: dict[str, FileState] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Record:
        """An empty one where there is none that can be read."""
        try:
            return build(cls, read_json(_path(folder)))
        except (InputError, OSError):
            return cls(str(folder))

    def with_file(self, name: str, state: FileState) -> Record:
        return dataclasses.replace(self, files={**self.files, name: state})

    def write(self, folder: Path) -> None:
        """Nothing happens where that can't be."""
        path = _path(folder)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            write_json(path, dataclasses.asdict(self))


def records_folder() -> Path:
    """Where all of this user's records lie; may not be there, nor where that would be."""
    if home := os.environ.get(HOME_VARIABLE):
        # a home that isn't there isn't made for this
        return Path(os.path.expanduser(home)) / "checked"  # noqa: PTH111  # raises nothing for `~` of nobody
    import platformdirs  # milliseconds, which a bundle of small files never needs

    cache = platformdirs.user_cache_path("omnilmm-lite", appauthor=False)
    if cache.is_absolute():  # else the system knows no home, and it would lie where the program was started
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
    return cache / "checked"


def _path(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    return records_folder() / f"{name}.json"
