"""What is written beside a picture, or into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Caption:
    """What the model said of a picture, ready to be written; `tags` where a list was asked for."""

    text: str
    tags: tuple[str, ...] | None = None


class Writer(Protocol):
    """One of several that get every caption."""

    def wants(self, path: str, data: bytes) -> bool:
        """Whether the picture at `path`, whose file is `data`, still needs its caption here. InputError where it can't
        have one."""
        ...

    def write(self, path: str, sha256: str, caption: Caption) -> str | None:
        """It is on the disk when this returns; nothing is written where it isn't wanted, see above. The hash of the
        picture's file where that has changed. `sha256`: of the file that was described. InputError where it can't be
        written; other errors are the disk's."""
        ...
