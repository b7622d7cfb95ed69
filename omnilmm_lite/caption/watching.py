"""Pictures as they come into a folder, each once nobody writes to it any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.engine.interrupt import check_interrupt
from omnilmm_lite.picture.listing import Filter, list_pictures

INTERVAL_S = 2.0
_TURN_S = 0.1  # how long Ctrl-C may wait


@dataclass(frozen=True)
class _State:
    """Of a file: what changes while it is written to."""

    size: int
    changed: int  # nanoseconds


def arrivals(
    folder: Path, chosen: Filter, wait: Callable[[], None] | None = None, leave_out: Sequence[Path] = ()
) -> Iterator[tuple[str, ...]]:
    """Rounds of paths, without end: pictures that are new, or have changed, and that have kept size and date from one
    look to the next. Nothing is remembered of files that are gone. `wait` passes the time between two looks."""
    last: dict[str, _State] = {}
    given: dict[str, _State] = {}
    while True:
        now = _look(folder, chosen, leave_out)
        ready = tuple(path for path, state in now.items() if last.get(path) == state != given.get(path))
        if ready:
            yield ready
        given = {path: now[path] if path in ready else given[path] for path in now if path in given or path in ready}
        last = now
        (wait or _wait)()


def _look(folder: Path, chosen: Filter, leave_out: Sequence[Path]) -> dict[str, _State]:
    found = {}
    for path in list_pictures(folder, chosen, leave_out, allow_none=True).paths:
        try:
            status = (folder / path).stat()
        except OSError:  # gone meanwhile, or a link that leads nowhere
            continue
        if status.st_size:  # one that was only just made
            found[path] = _State(status.st_size, status.st_mtime_ns)
    return found


def _wait() -> None:
    for _ in range(round(INTERVAL_S / _TURN_S)):
        check_interrupt()
        time.sleep(_TURN_S)
