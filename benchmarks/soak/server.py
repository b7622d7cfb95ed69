"""The server of the real command: its process, its log, its helpers."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.soak.exchange import Address

QUEUE = 8  # fewer than there are clients, so that it is full at times
COMMAND = [sys.executable, "-m", "cli", "serve", "--model", "tiny", "--host", "127.0.0.1", "--port", "0"]
ENDS_S = 90.0  # after SIGTERM
PROC = Path("/proc")
KILL_EVERY_S = (0.5, 5.0)


@dataclass
class Server:
    process: subprocess.Popen[str]
    address: Address
    log: list[str] = field(default_factory=list)

    def helpers(self) -> list[int]:
        """The processes that decode pictures for it."""
        by_thread = PROC.glob(f"{self.process.pid}/task/*/children")
        return sorted({int(number) for path in by_thread for number in _read(path).split()})

    def complaints(self) -> list[str]:
        """Lines of the log that are no JSON, tell of a mistake, or of an error."""
        return [line.strip()[:400] for line in self.log if not _is_quiet(line)]


@contextlib.contextmanager
def server(parallel: int) -> Iterator[Server]:
    """`parallel`: answers at once."""
    command = [*COMMAND, "--queue", str(QUEUE), "--parallel", str(parallel)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            url = urlsplit(process.stdout.readline().strip())
            served = Server(process, Address(url.hostname or "", url.port or 0))
            threading.Thread(target=served.log.extend, args=(process.stderr,), daemon=True).start()
            yield served
        finally:
            process.kill()


def ended(served: Server) -> list[str]:
    """Asks it to end; what was wrong with how it did."""
    helpers = served.helpers()
    served.process.terminate()
    try:
        code = served.process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        return [f"the server didn't end within {ENDS_S:.0f} s of SIGTERM"]
    left = [number for number in helpers if (PROC / str(number)).exists()]
    faults = [f"after the server ended, its helpers {left} were left"] if left else []
    return faults if code in (0, -signal.SIGTERM) else [*faults, f"the server ended with {code}"]


def kill_helpers(served: Server, rng: random.Random, over: threading.Event) -> int:
    """Kills one now and then, until it is over; how many there were."""
    killed = 0
    while not over.wait(rng.uniform(*KILL_EVERY_S)):
        for number in served.helpers():
            with contextlib.suppress(ProcessLookupError):
                if sys.platform == "linux":  # the soak's only system, and Windows knows no SIGKILL
                    os.kill(number, signal.SIGKILL)
                killed += 1
    return killed


def _is_quiet(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return "mistake" not in entry and entry.get("level") == "info"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # the thread has ended
        return ""
