"""A session's events as a line of JSON each, as they happen; of the frames their hashes, or pictures as well."""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from anyio import to_thread
from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.events import AnswerPiece, Event, FrameDescribed, Stage, StatusChanged, to_json
from omnilmm_lite.live.session import LiveSession

FRAMES = ".frames"  # behind the file's name: the folder of its pictures
JPEG_QUALITY = 85
MOST_UNWRITTEN = 10_000  # events that wait for room on the disk


class TranscriptWriter:
    """Where the disk is full the session goes on: what happens is kept in memory meanwhile, up to 10,000 events, and
    written once there is room. `with TranscriptWriter(path, ...) as writer:`, and `listen` as a `Listener`."""

    def __init__(self, path: Path, *, keep_frames: bool) -> None:
        """Makes the file, and beside it the folder FILE.frames where `keep_frames`. InputError where one is there
        already, or can't be made."""
        self.path = path
        self._frames = path.with_name(path.name + FRAMES) if keep_frames else None
        self._unwritten: deque[Event] = deque(maxlen=MOST_UNWRITTEN)
        self._lost = 0
        self._length = 0  # of whole lines
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            self._make_folder()
        except FileExistsError as error:
            raise InputError(f"transcript: {error.filename} is there already; name another file") from None
        except OSError as error:
            raise InputError(f"transcript: {error.filename} can't be made: {error.strerror}") from None

    def _make_folder(self) -> None:
        """OSError leaves no file behind, or it would be there already the next time."""
        try:
            if self._frames is not None:
                self._frames.mkdir(mode=0o700)
        except OSError:
            os.close(self._file)
            self.path.unlink()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    async def listen(self, session: LiveSession, events: Subscription) -> None:
        """See `Listener`. Of the statuses only the last is written, and of an answer the whole."""
        last: StatusChanged | None = None
        async for event in events:
            if isinstance(event, StatusChanged):
                last = event
            elif not isinstance(event, AnswerPiece):
                await self._take(session, event)
        if last is not None:
            await self._take(session, last)

    async def _take(self, session: LiveSession, event: Event) -> None:
        self._lost += len(self._unwritten) == MOST_UNWRITTEN
        self._unwritten.append(event)
        try:
            await to_thread.run_sync(self._write_all)
        except OSError as error:
            lost = f", {self._lost} events are lost" if self._lost else ""
            reason = error.strerror or str(error)
            session.trouble(
                Stage.TRANSCRIPT,
                f"{self.path} can't be written: {reason}; what happens is kept until it can{lost}",
            )
        else:
            session.works(Stage.TRANSCRIPT)

    def _write_all(self) -> None:
        while self._unwritten:
            self._write(self._unwritten[0])
            self._unwritten.popleft()

    def _write(self, event: Event) -> None:
        """OSError leaves the file as it was, with whole lines only."""
        if self._frames is not None and isinstance(event, FrameDescribed) and event.picture is not None:
            _save(event.picture, self._frames / frame_name(event.frame))
        line = json.dumps(to_json(event, thumbnail=False), ensure_ascii=False).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, self._length)
            os.lseek(self._file, self._length, os.SEEK_SET)
            raise
        self._length += written


def frame_name(number: int) -> str:
    """The picture's file in the folder of frames."""
    return f"{number:06}.jpg"


def _save(picture: Image.Image, path: Path) -> None:
    """A whole file or none."""
    try:
        picture.save(path, quality=JPEG_QUALITY)
    except OSError:
        path.unlink(missing_ok=True)
        raise
