"""How much memory this process holds, by kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see Linux's Documentation/filesystems/proc.rst, clear_refs


@dataclass(frozen=True)
class Footprint:
    """Bytes. File-backed pages are the system's to take back when memory is short; anonymous ones are not."""

    stage: str
    rss: int
    anonymous: int
    file_backed: int
    peak: int  # of rss since the last `reset_peak`

    @classmethod
    def read(cls, stage: str) -> Footprint | None:
        """This process's memory; None where the system doesn't tell, as outside Linux."""
        try:
            text = STATUS.read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        return parse_status(stage, text)


def parse_status(stage: str, text: str) -> Footprint | None:
    """From the text of /proc/self/status, whose kB are KiB. Shared memory counts as file-backed."""
    found = {name: 1024 * int(kib) for name, kib in re.findall(r"^(\w+):\s*(\d+) kB$", text, re.MULTILINE)}
    if not {"VmRSS", "VmHWM", "RssAnon", "RssFile"} <= found.keys():
        return None
    file_backed = found["RssFile"] + found.get("RssShmem", 0)
    return Footprint(stage, found["VmRSS"], found["RssAnon"], file_backed, found["VmHWM"])


def reset_peak() -> None:
    """Lets the next stage have a peak of its own. Where that isn't allowed, peaks only ever grow."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return
