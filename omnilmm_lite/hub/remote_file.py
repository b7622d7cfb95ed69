"""A file as a hub announces it: foreign words, checked before they become a path or a size here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import shown
from omnilmm_lite.files.printable import printable

if TYPE_CHECKING:
    from hashlib import _Hash

LARGEST = 1 << 40  # bytes; more is no model of this size
SHA256 = re.compile(r"[0-9a-f]{64}")
SHA1 = re.compile(r"[0-9a-f]{40}")
# Names that Windows keeps for devices, with any ending.
DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(10))}


@dataclass(frozen=True)
class RemoteFile:
    """`path` is relative and stays below the model's folder; `size` in bytes. Hashes are in hex, None where unknown:
    `sha256` of the content, `git_id` of the content as a git object."""

    path: str
    size: int
    sha256: str | None = None
    git_id: str | None = None
    version: str | None = None  # what tells it from an earlier one where there is no hash

    def __post_init__(self) -> None:
        """InputError for a path that leaves the folder, and for a size or hash that can't be one."""
        check_path(self.path)
        if not isinstance(self.size, int) or not 0 <= self.size <= LARGEST:
            raise InputError(f"{printable(self.path)}: a size of {shown(self.size)} bytes is announced, which can't be")
        for value, form in ((self.sha256, SHA256), (self.git_id, SHA1)):
            if value is not None and not form.fullmatch(str(value)):
                raise InputError(f"{printable(self.path)}: the announced hash {shown(value)} is none")

    @property
    def identity(self) -> str | None:
        """The same for the same content only; None where nothing is known, so that nothing can be gone on with."""
        return self.sha256 or self.git_id or self.version

    def hasher(self) -> _Hash:
        """Takes the content; of an empty file, too."""
        if self.sha256 is None and self.git_id is not None:
            return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        return hashlib.sha256()

    @property
    def expected(self) -> str | None:
        """What `hasher` has to come to; None where nothing is known."""
        return self.sha256 or self.git_id


def check_path(path: str) -> None:
    """InputError where a hub's or a manifest's file name isn't a plain relative path below a folder, on any system."""
    parts = PurePosixPath(path).parts
    is_plain = (
        path.isprintable()
        and 0 < len(path) <= 400
        and path == "/".join(parts)  # nothing doubled, no `.`, no slash at either end
        and not path.startswith("/")
        and {*'\\:*?"<>|'}.isdisjoint(path)
        and not any(part.endswith((".", " ")) or len(part) > 200 for part in parts)  # `..` is one
        and not any(part.split(".")[0].lower() in DEVICES for part in parts)
    )
    if not is_plain:
        raise InputError(f"{printable(path)!r}: a file of this name can't be taken from a hub: it may leave the folder")
