"""A video file, decoded by FFmpeg's libraries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.live.frames.blocking import MOST_FPS, BlockingSource, ffmpeg_failures
from omnilmm_lite.live.frames.frame import Frame

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

MAX_PIXELS = 33_177_600  # of a frame: 8K
ROUNDING_S = 1e-6


class VideoFile(BlockingSource):
    """Frames of the file's first video, at most `fps` a second; sound is left out.

    In real time a frame comes when the video has got to it. Else the next one comes when the reader is ready.
    """

    def __init__(self, path: Path, *, real_time: bool = True, fps: float = MOST_FPS, loops: bool = False) -> None:
        """`loops`: begins again at the end, for ever; positions go on."""
        super().__init__(printable(path.name))
        self.waits_for_reader = not real_time
        self._path, self._fps, self._loops = path, fps, loops
        self._container: InputContainer | None = None
        self._decoded: Iterator[VideoFrame] | None = None
        self._next: VideoFrame | None = None  # decoded, its time hasn't come
        self._began: float | None = None  # time.monotonic() of position 0
        self._offset = 0.0  # of the loops before
        self._position = 0.0  # of `_next`
        self._due = 0.0  # the least position of the next frame

    def open(self) -> None:
        """InputError where the file isn't there, or holds no video."""
        import av

        try:
            self._container = av.open(str(self._path), metadata_errors="replace")
        except FileNotFoundError:
            raise InputError(f"{self._path}: there is no such file; name a video") from None
        except PermissionError:
            raise InputError(f"{self._path}: it can't be read: permission denied") from None
        except ffmpeg_failures():
            raise InputError(f"{self._path}: it is no video that FFmpeg's libraries know; convert it to MP4") from None
        if not self._container.streams.video:
            raise InputError(f"{self._path}: there is no video in this file; name another one")
        stream = self._container.streams.video[0]
        if stream.width * stream.height > MAX_PIXELS:
            raise InputError(f"{self._path}: {stream.width}x{stream.height} pixels are too many; make it 8K or less")
        stream.thread_type = "AUTO"
        self._decoded = self._frames_of(self._container)
        if not self._advance():
            raise InputError(f"{self._path}: not one frame of it can be decoded; name another video")

    def read(self) -> Frame | None:
        """The frame whose time has come."""
        if self._next is None:
            return None
        picture, position = self._picture(self._next), self._position
        self._due = max(self._due, position - 1 / self._fps) + 1 / self._fps
        self._advance()
        return Frame(picture, self.next_number(), position_s=position)

    def close(self) -> None:
        self._next = self._decoded = None
        if self._container is not None:
            self._container.close()
            self._container = None

    async def pause(self) -> None:
        """Until the next frame's time."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if not self.waits_for_reader and self._next is not None:
            await anyio.sleep(max(self._began + self._position - now, 0.0))

    def _advance(self) -> bool:
        """Decodes until a frame is due; False at the end."""
        while (frame := self._decode()) is not None:
            if self._position >= self._due - ROUNDING_S:
                self._next = frame
                return True
        self._next = None
        return False

    def _decode(self) -> VideoFrame | None:
        if self._decoded is None or self._container is None:
            return None
        try:
            frame = next(self._decoded, None)
            if frame is None and self._loops and self._position > self._offset:
                self._offset = self._position + 1 / self._fps
                self._container.seek(0)
                self._decoded = self._frames_of(self._container)
                frame = next(self._decoded, None)
        except ffmpeg_failures():
            raise OmniLMMError(f"{self.name}: the video is damaged after {self._position:.1f} s") from None
        if frame is not None:
            self._position = self._offset + (frame.time or 0.0)
        return frame

    @staticmethod
    def _picture(frame: VideoFrame) -> Image.Image:
        picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
        return picture

    @staticmethod
    def _frames_of(container: InputContainer) -> Iterator[VideoFrame]:
        return container.decode(container.streams.video[0])
