"""Plays a transcript as it happened, in the lines of the terminal's timeline."""

from __future__ import annotations

import time
from collections.abc import Callable

from omnilmm_lite.live.events import StatusChanged
from omnilmm_lite.live.terminal.lines import status_line, timeline_line
from omnilmm_lite.live.transcript.reading import Transcript

LONGEST_PAUSE_S = 86_400.0  # at next to no speed: a clock can't sleep for ever


def replay(
    transcript: Transcript,
    speed: float,
    show: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Each line at its time, `speed` times as fast; at infinite speed at once. The last status comes at the end."""
    began = now()
    for event in transcript.events:
        line = status_line(event.status) if isinstance(event, StatusChanged) else timeline_line(event)
        if line is None:
            continue
        ahead = event.time_s / speed - (now() - began)
        if ahead > 0:
            sleep(min(ahead, LONGEST_PAUSE_S))
        show(line)
