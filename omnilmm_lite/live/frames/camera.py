"""A camera, by FFmpeg's devices: Video4Linux, DirectShow, AVFoundation."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.frames.blocking import MOST_FPS, BlockingSource, ffmpeg_failures
from omnilmm_lite.live.frames.frame import Frame

NO_PICTURE_S = 5.0  # a camera that gives none for so long is gone
RETRY_S = 0.005  # where it has none at the moment
OPEN_S = 10.0


class CameraFrame(Protocol):
    def to_image(self) -> Image.Image: ...


class CameraContainer(Protocol):
    """What is used of `av.container.InputContainer`."""

    def decode(self, *, video: int) -> Iterator[CameraFrame]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Device:
    """How FFmpeg names a camera."""

    file: str
    format: str
    options: Mapping[str, str]


OpenDevice = Callable[[Device], CameraContainer]


def find_device(number: int, system: str = sys.platform) -> Device:
    """The camera of that number, from 0. InputError where the system lists fewer."""
    if system == "darwin":
        return Device(f"{number}:none", "avfoundation", {"framerate": "30", "pixel_format": "uyvy422"})
    if system == "win32":
        names = _windows_cameras()
        if number >= len(names):
            raise InputError(f"camera:{number}: {_only(len(names))}")
        return Device(f"video={names[number]}", "dshow", {})
    return Device(f"/dev/video{number}", "v4l2", {})


def open_device(device: Device) -> CameraContainer:
    """Raises OSError or `av.error.FFmpegError`."""
    import av

    container: Any = av.open(device.file, format=device.format, options=dict(device.options), timeout=OPEN_S)
    return container  # type: ignore[no-any-return]  # a camera is always an InputContainer


class Camera(BlockingSource):
    """Frames as fast as it gives them, of which at most `fps` a second are made pictures of."""

    def __init__(self, number: int, *, opener: OpenDevice = open_device, fps: float = MOST_FPS) -> None:
        super().__init__(f"camera:{number}")
        self._number, self._opener, self._fps = number, opener, fps
        self._container: CameraContainer | None = None
        self._decoded: Iterator[CameraFrame] | None = None
        self._due = 0.0

    def open(self) -> None:
        """InputError where there is no such camera, or it can't be had."""
        device = find_device(self._number)
        try:
            self._container = self._opener(device)
        except ffmpeg_failures() as error:
            raise InputError(f"{self.name}: {_reason(error, device)}") from None
        self._due = time.monotonic()

    def read(self) -> Frame | None:
        """The next one that is due. OmniLMMError where the camera is gone."""
        last = time.monotonic()
        while True:
            frame = self._decode()
            now = time.monotonic()
            if frame is None:
                if now - last > NO_PICTURE_S:
                    raise OmniLMMError(
                        f"{self.name}: it has given no picture for {NO_PICTURE_S:.0f} s; plug it in anew"
                    )
                time.sleep(RETRY_S)
            elif now >= self._due:
                self._due = max(self._due, now - 1 / self._fps) + 1 / self._fps
                return Frame(frame.to_image(), self.next_number())
            else:
                last = now

    def close(self) -> None:
        self._decoded = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _decode(self) -> CameraFrame | None:
        """None where there is none yet, which AVFoundation says of itself."""
        if self._container is None:
            return None
        try:
            if self._decoded is None:
                self._decoded = self._container.decode(video=0)
            frame = next(self._decoded, None)
        except BlockingIOError:
            self._decoded = None
            return None
        except ffmpeg_failures() as error:
            if getattr(error, "errno", None) == errno.EAGAIN:
                self._decoded = None
                return None
            raise OmniLMMError(f"{self.name}: it was unplugged, or another program took it") from None
        if frame is None:
            raise OmniLMMError(f"{self.name}: it gives no more pictures")
        return frame


def _reason(error: Exception, device: Device) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return "there is no such camera; plug one in, or name a video with --source"
    if number == errno.EBUSY:
        return "another program uses it; close that one first"
    if number in (errno.EACCES, errno.EPERM):
        if device.format == "v4l2":
            return f"{device.file} may not be read; become a member of the group video, and log in anew"
        return "the system doesn't allow it; let this terminal use the camera in the privacy settings"
    return "it can't be opened; close other programs that may use it, or name another one with --source"


def _only(count: int) -> str:
    if count < 2:
        return "there is one; name camera:0" if count else "there is no camera; plug one in"
    return f"there are {count}; name camera:0 to {count - 1}"


def _windows_cameras() -> list[str]:
    import av

    try:
        return [each.name for each in av.enumerate_input_devices("dshow") if "video" in each.media_types]
    except ffmpeg_failures():  # where there is none
        return []
