"""Frames from the source into the place of the newest; what nobody took in time is dropped, and counted."""

from __future__ import annotations

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.events import SourceEnded, Stage
from omnilmm_lite.live.frames.newest import NewestFrame
from omnilmm_lite.live.frames.source import FrameSource
from omnilmm_lite.live.journal import Journal


async def capture(source: FrameSource, newest: NewestFrame, journal: Journal) -> None:
    """Until the source has ended; a source that breaks has ended, too, and is a trouble."""
    try:
        async for frame in source:
            if newest.put(frame):
                journal.meter.dropped += 1
            journal.captured(frame)
            if source.waits_for_reader:
                await newest.wait_until_done()
    except OmniLMMError as error:
        journal.trouble(Stage.CAPTURE, str(error))
    newest.end()
    journal.tell(SourceEnded(journal.now_s))
