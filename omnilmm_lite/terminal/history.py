"""What was typed in earlier chats: a file that only its owner can read, and that no chat ever fails for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory


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


class PrivateHistory(FileHistory):
    """prompt_toolkit's file, with mode 0600 from the first byte; one that can't be used is no error."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """Earlier inputs, the newest first; none where the file can't be read."""
        try:
            return super().load_history_strings()
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
            self._path.chmod(0o600)  # also a file that was there before
            super().store_string(string)
