"""A process that is killed between two of its steps on the disk, within this very process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Python's own names for whatever makes, moves or removes something: see "Audit events table" in its documentation.
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR
NEVER = 10**9


class Killed(BaseException):
    """No `except` of the code catches it, and what `finally` does to the disk is refused, too."""


@dataclass
class Steps:
    """`done`: changes below `folder` so far; whatever would be number `last` + 1, or come after it, raises Killed."""

    folder: Path
    last: int
    done: int = 0

    def take(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITES:
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike) or not Path(path).is_relative_to(self.folder):
            return
        if event == "open" and str(path).endswith(".partial"):  # counts for nothing, whatever is in it
            return
        if str(path).endswith(".lock"):  # the system gives it back when a process dies, and this one goes on
            return
        if self.done == self.last:
            raise Killed
        self.done += 1


_now: list[Steps] = []
_hooked: list[bool] = []


@contextmanager
def killed_after(steps: int, folder: Path) -> Iterator[Steps]:
    """In the block, only so many steps change anything below `folder`; the next one, and all later ones, raise."""
    if not _hooked:  # a hook stays for ever
        sys.addaudithook(lambda event, arguments: _now[-1].take(event, arguments) if _now else None)
        _hooked.append(True)
    counted = Steps(folder, steps)
    _now.append(counted)
    try:
        yield counted
    finally:
        _now.pop()
