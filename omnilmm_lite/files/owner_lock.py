"""One run at a time: who writes to a file or folder has a lock beside it, which the system takes back when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

import filelock

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable

ENDING = ".lock"


@dataclass(frozen=True)
class Owner:
    """The run that holds a lock."""

    pid: int
    host: str
    since: str  # local time, to the second

    @classmethod
    def this_run(cls) -> Owner:
        return cls(os.getpid(), socket.gethostname(), datetime.now().isoformat(" ", timespec="seconds"))

    @classmethod
    def read(cls, path: Path) -> Owner | None:
        """As the lock file says; None where it doesn't: it may have been taken this very moment."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def __str__(self) -> str:
        return f"process {printable(str(self.pid))} on {printable(str(self.host))}, since {printable(str(self.since))}"


def lock_path(path: Path) -> Path:
    """Where the lock of a file or folder that may not be there yet lies: beside it, hidden; of a link, beside what it
    leads to, which has one lock whatever it is called."""
    path = Path(os.path.realpath(path))
    return path.with_name(f".{path.name}{ENDING}")


@contextlib.contextmanager
def sole_owner(path: Path, on_unlockable: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Until the end of the block, no other run that asks for the same `path` gets it, on this host or, where the file
    system passes locks on (NFS does since version 4), on another.

    InputError, which names the other run, where one has it. `on_unlockable` gets a line where the file system can't
    lock: then nothing is held.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device or a pipe, which the caller refuses
        yield
        return
    file = lock_path(path)
    if not file.parent.is_dir():  # where nothing can be written either; filelock would make it
        yield
        return
    # a lock may be asked for by one thread and given back by another
    lock = filelock.FileLock(file, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"{path}: another run is writing there ({Owner.read(file) or 'it has just begun'}); wait for it, stop it, "
            "or name another place"
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"{path}: its lock can't be had: {error.strerror}; remove {file}, or allow it") from None
        reason = error.strerror if isinstance(error, OSError) else "not supported"
        on_unlockable(f"{path}: files can't be locked there ({reason}); make sure that no other run writes to it")
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its owner's name
            file.write_text(json.dumps(asdict(Owner.this_run())), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is held: who comes now finds a file without a name, and asks anew
            file.unlink()
        lock.release()
