"""A disk of its own for a command, in memory, that can be filled while the command writes to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MB = 256  # more than any of the commands takes
ENTERED = "KILLS_OWN_MOUNTS"  # in the environment of a process that may mount
CHUNK = bytes(1 << 20)


def enter_own_mounts() -> None:
    """Starts the program anew where it may mount disks that nobody else sees, if this system lets it; else goes on."""
    own = ["unshare", "--map-root-user", "--mount"]
    if ENTERED in os.environ or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        return
    command = [*own, sys.executable, "-m", "benchmarks.kills", *sys.argv[1:]]
    os.execvpe(own[0], command, {**os.environ, ENTERED: "1"})


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """An empty disk of SIZE_MB; None where none can be mounted."""
    if ENTERED not in os.environ:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="kills-disk-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "kills", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def filled(disk: Path, process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """In the block, the disk is filled once the process has run for so long, again and again until the process ends;
    behind it there is room."""
    ended = threading.Event()

    def fill() -> None:
        with (disk / "filler").open("wb", buffering=0) as file:
            while not ended.wait(0.002):
                with contextlib.suppress(OSError):  # full
                    while file.write(CHUNK) == len(CHUNK):
                        pass
                    file.write(bytes(4096))

    timer = threading.Timer(seconds, fill)
    timer.start()
    try:
        yield
    finally:
        ended.set()
        timer.cancel()
        timer.join()
        (disk / "filler").unlink(missing_ok=True)
