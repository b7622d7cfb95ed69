"""What was typed in earlier chats: a file that only its owner can read, and that no chat ever fails for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History, InMemoryHistory

LONGEST_READ = 1 << 20  # bytes from the file's end


def state_folder() -> Path:
    """Where this user's programs keep what should outlive them. RuntimeError where the user has no home."""
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_STATE_HOME"
    given = Path(os.environ.get(name, ""))
    base = given if given.is_absolute() else Path.home() / ".local" / "state"  # a relative one counts for nothing
    return base / "omnilmm-lite"


def open_history() -> History:
    """The user's history; one that ends with the chat where there is no place for a file."""
    try:
        return PrivateHistory(state_folder() / "history")
    except RuntimeError:
        return InMemoryHistory()


class PrivateHistory(History):
    """A line that begins with + is an entry's, any other ends it. Mode 0600 from the first byte; a file that can't
    be used is no error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LONGEST_READ))
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            return []
        if size > LONGEST_READ:
            text = text.partition("\n\n")[2]  # the first entry is cut
        entries: list[list[str]] = [[]]
        for line in text.split("\n"):
            if line.startswith("+"):
                entries[-1].append(line[1:])
            elif entries[-1]:
                entries.append([])
        return ["\n".join(entry) for entry in reversed(entries) if entry]

    def store_string(self, string: str) -> None:
        entry = "".join(f"+{line}\n" for line in string.split("\n"))
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                if hasattr(os, "fchmod"):
                    os.fchmod(descriptor, 0o600)  # also a file that was there before
                file.write(f"\n{entry}".encode(errors="replace"))
