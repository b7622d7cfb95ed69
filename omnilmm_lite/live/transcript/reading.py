"""Reads a transcript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.regular_file import open_regular
from omnilmm_lite.live.events import Event, FrameDescribed, SessionBegan, from_json
from omnilmm_lite.live.transcript.writing import FRAMES, frame_name

LONGEST_LINE = 1 << 20  # bytes; an answer has a few thousand


@dataclass(frozen=True)
class Transcript:
    """`is_cut`: its last line is none, as after a power cut, and was left out."""

    path: Path
    events: tuple[Event, ...]
    is_cut: bool

    @property
    def began(self) -> SessionBegan | None:
        return next((event for event in self.events if isinstance(event, SessionBegan)), None)

    def picture(self, event: FrameDescribed) -> Path | None:
        """The frame's picture, where it was kept and is still there."""
        path = self.path.with_name(self.path.name + FRAMES) / frame_name(event.frame)
        return path if path.is_file() else None


def read_transcript(path: Path) -> Transcript:
    """InputError where there is none at `path`, and for the first line that is no event, but a last one without end."""
    events: list[Event] = []
    is_cut = False
    for number, line in enumerate(_lines(path), start=1):
        try:
            events.append(from_json(json.loads(line)))
        except (ValueError, RecursionError, InputError) as error:
            if not line.endswith(b"\n"):
                is_cut = True
                break
            reason = str(error) if isinstance(error, InputError) else "it is no JSON"
            raise InputError(f"{path}: line {number}: {reason}; is this a transcript of `omnilmm-lite live`?") from None
    if not events:
        raise InputError(f"{path}: nothing is in it; give a transcript that `omnilmm-lite live` wrote")
    return Transcript(path, tuple(events), is_cut)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open_regular(path) as file:
            while line := file.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(f"{path}: a line is longer than {LONGEST_LINE} bytes; this is no transcript")
                yield line
    except OSError as error:
        raise InputError(f"{path}: it can't be read: {error.strerror}") from None
