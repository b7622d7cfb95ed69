"""The check of a bundle's large files: in the background, piece by piece, over as many starts as it takes.

Hashing gigabytes takes longer than a start. So opening a bundle only looks at what earlier starts have found out, and
once the model has answered, a thread goes on where they stopped. What it finds is said at once, and the next opening
refuses. Where a file's date, size or place has changed, and after `GOOD_FOR_S`, everything is hashed again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from omnilmm_lite.bundle.integrity.file_entry import FileEntry
from omnilmm_lite.bundle.integrity.hashes import SMALL_BYTES, is_whole
from omnilmm_lite.bundle.integrity.record import FileState, Identity, Record, records_folder
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import remove_unfinished
from omnilmm_lite.files.regular_file import check_regular

LOG = logging.getLogger(__name__)
LOOKS_S = 0.1  # between two looks at whether the model has answered
LOWEST = 19  # the system's least urgent priority

_BEGUN: set[Path] = set()  # folders that this process has a thread for, or has checked


def damaged(path: Path) -> InputError:
    return InputError(
        f"{path}: the file is damaged: what it holds hasn't the SHA-256 that the manifest says; copy the bundle again "
        "or convert the checkpoint again"
    )


def large_files(entries: Sequence[FileEntry]) -> list[FileEntry]:
    """Those that opening a bundle has no time to hash."""
    return [entry for entry in entries if entry.size > SMALL_BYTES]


def check_known_damage(folder: Path, entries: Sequence[FileEntry]) -> None:
    """InputError where an earlier start found a large file damaged, and it still is."""
    if not (large := large_files(entries)):
        return
    record = Record.read(folder)
    for entry in large:
        state = record.files.get(entry.path)
        if state is None or state.damaged_piece is None:
            continue
        path = folder / entry.path
        if not state.fits(Identity.of(check_regular(path)), entry):
            continue
        if not is_whole(path, entry.pieces[state.damaged_piece]):
            raise damaged(path)


def check_in_background(folder: Path, entries: Sequence[FileEntry], has_answered: Callable[[], bool | None]) -> None:
    """Starts the thread, where something is left to check; it ends with the process. `has_answered`: whether the model
    has, None where it is gone."""
    large, key = large_files(entries), folder.absolute()
    if not large or key in _BEGUN:
        return
    _BEGUN.add(key)
    check = _Check(folder, large, has_answered)
    threading.Thread(target=check.run, name="check of the bundle's files", daemon=True).start()


def remember_whole(folder: Path, entry: FileEntry) -> None:
    """Notes down that a file was hashed and is whole."""
    if not large_files([entry]):
        return
    identity = Identity.of(check_regular(folder / entry.path))
    state = FileState(identity, entry.sha256, len(entry.pieces), finished_at=time.time())
    Record.read(folder).with_file(entry.path, state).write(folder)


class _Check:
    """What the thread does."""

    def __init__(self, folder: Path, entries: list[FileEntry], has_answered: Callable[[], bool | None]) -> None:
        self._folder, self._entries, self._has_answered = folder, entries, has_answered

    def run(self) -> None:
        while not (answered := self._has_answered()):
            if answered is None:
                _BEGUN.discard(self._folder.absolute())
                return
            time.sleep(LOOKS_S)
        if sys.platform == "linux":  # there a priority is a thread's own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
        with contextlib.suppress(OSError):
            remove_unfinished(records_folder())
        for entry in self._entries:
            with contextlib.suppress(OSError, InputError):  # gone, or replaced: the next opening says so
                self._check(entry)

    def _check(self, entry: FileEntry) -> None:
        path, pieces = self._folder / entry.path, entry.pieces
        identity = Identity.of(check_regular(path))
        state = Record.read(self._folder).files.get(entry.path)
        if state is not None and not state.fits(identity, entry):
            state = None
        if state is not None and state.is_fresh():
            return
        first = state.whole_pieces if state is not None and state.finished_at is None else 0
        for number in range(first, len(pieces)):
            whole = is_whole(path, pieces[number])
            if Identity.of(check_regular(path)) != identity:  # written to meanwhile
                return
            finished_at = time.time() if whole and number == len(pieces) - 1 else None
            found = FileState(identity, entry.sha256, number + whole, None if whole else number, finished_at)
            Record.read(self._folder).with_file(entry.path, found).write(self._folder)
            if not whole:
                LOG.warning("%s", damaged(path))
                return
