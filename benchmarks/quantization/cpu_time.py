"""What a measurement took, in CPU seconds: pauses of the machine and other programs hardly change them.

With one thread, that is. Of several, those that wait for one that was held up spin, and that counts: the first stage of
the real-shape layer took 309 instead of 133 with other work on the same cores.
"""

from __future__ import annotations

import os
from pathlib import Path

from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json


def cpu_seconds() -> float:
    """Of this process, all its threads, and the processes that it ran and waited for; user and system time."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class CpuClock:
    """Counts on from what earlier runs, which were stopped, have left in a file. What is done twice counts twice."""

    def __init__(self, file: Path) -> None:
        self._file = file
        earlier = float(read_json(file)["cpu_seconds"]) if file.is_file() else 0.0
        self._zero = cpu_seconds() - earlier

    def seconds(self) -> float:
        return cpu_seconds() - self._zero

    def keep(self) -> None:
        """For a later run, should this one be stopped."""
        write_json(self._file, {"cpu_seconds": self.seconds()})
