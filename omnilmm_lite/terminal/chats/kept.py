"""Conversations kept as they go on, so that `run --continue` can take up the newest."""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.terminal.chats.transcript import Transcript, write_transcript
from omnilmm_lite.terminal.history import state_folder

KEPT = 20  # the newest
SUFFIX = ".json"


class KeptChat:
    """The file of one conversation: written anew after each answer, gone again when nothing was said.

    What can't be kept is no error: `keep` says why, once.
    """

    def __init__(self, *, earlier: Path | None = None) -> None:
        """`earlier`: the file of the conversation that this one goes on with, which it takes the place of."""
        self._path: Path | None = None
        self._earlier = earlier
        self._written: Transcript | None = None
        self._has_failed = False

    @property
    def is_there(self) -> bool:
        """Whether there is a file to go on with."""
        return self._written is not None and bool(self._written.turns) and not self._has_failed

    def keep(self, transcript: Transcript) -> str:
        """Writes the conversation; why it can't be, else an empty text."""
        if transcript == self._written or self._has_failed or (self._written is None and not transcript.turns):
            return ""
        try:
            self._write(transcript)
        except (InputError, OSError, RuntimeError) as error:  # RuntimeError: the user has no home
            self._has_failed = True
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            return f"this conversation isn't kept: {why}"
        self._written = transcript
        return ""

    def _write(self, transcript: Transcript) -> None:
        if not transcript.turns:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            return
        if self._path is None:
            folder = _folder()
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            began = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
            self._path = folder / f"{began}-{os.getpid()}-{os.urandom(2).hex()}{SUFFIX}"
        write_transcript(transcript, self._path)
        with contextlib.suppress(OSError):  # another chat may be doing the same
            if self._earlier is not None:
                self._earlier.unlink(missing_ok=True)
            for path in _newest_first()[KEPT:]:
                path.unlink(missing_ok=True)
        self._earlier = None


def newest_kept() -> Path:
    """The file of the conversation that was gone on with last. InputError where none is kept."""
    with contextlib.suppress(RuntimeError, OSError):
        if found := _newest_first():
            return found[0]
    raise InputError("--continue: no conversation is kept yet; begin one with `omnilmm-lite run`")


def _folder() -> Path:
    return state_folder() / "chats"


def _newest_first() -> list[Path]:
    """Names tell those apart that a file system's clock doesn't."""
    found = []
    for path in _folder().iterdir():
        with contextlib.suppress(OSError):  # another chat has just removed it
            if path.suffix == SUFFIX and not path.name.startswith(".") and path.is_file():
                found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for *_, path in sorted(found, reverse=True)]
