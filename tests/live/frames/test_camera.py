"""Cameras by a device layer that the test makes: this machine may have none."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence

import anyio
import pytest
from av.error import ExternalError
from PIL import Image

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.events import FrameDescribed, SourceEnded, Stage, Trouble
from omnilmm_lite.live.frames import camera as camera_module
from omnilmm_lite.live.frames.camera import Camera, Device, find_device, open_device
from omnilmm_lite.live.frames.frame import Frame
from tests.live.sessions import Watched, shape


class FakeFrame:
    def to_image(self) -> Image.Image:
        return shape("red")


class FakeDevice:
    """Gives what `moments` says: a frame, or raises the error."""

    def __init__(self, moments: Sequence[Exception | None]) -> None:
        self._moments = list(moments)
        self.is_closed = False

    def decode(self, *, video: int) -> Iterator[FakeFrame]:
        assert video == 0
        while self._moments:
            moment = self._moments.pop(0)
            if moment is not None:
                raise moment
            yield FakeFrame()

    def close(self) -> None:
        self.is_closed = True


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def frames_of(device: FakeDevice, fps: float = 1e6) -> list[Frame]:
    async def main() -> list[Frame]:
        async with Camera(0, opener=lambda _: device, fps=fps) as camera:
            async for frame in camera:
                found.append(frame)
        return found

    found: list[Frame] = []
    try:
        return anyio.run(main)
    finally:
        assert device.is_closed


def test_frames_are_numbered_and_end_with_one_line_where_it_is_unplugged() -> None:
    device = FakeDevice([None, None, system_error(errno.ENODEV)])
    with pytest.raises(OmniLMMError, match=r"^camera:0: it was unplugged, or another program took it$"):
        frames_of(device)


@pytest.mark.parametrize("error", [ExternalError(542398533, "of a library"), ValueError("damaged")])
def test_no_error_of_the_libraries_is_passed_on(error: Exception) -> None:
    with pytest.raises(OmniLMMError, match="it was unplugged"):
        frames_of(FakeDevice([None, error]))


def test_unplugged_in_a_session_is_a_trouble_and_the_source_has_ended() -> None:
    async def main() -> Watched:
        device = FakeDevice([None, system_error(errno.EIO)])
        async with Camera(0, opener=lambda _: device, fps=1e6) as camera:
            watched = Watched(source=camera)
            await watched.run(lambda _: anyio.sleep(0))
            return watched

    watched = anyio.run(main)
    (trouble,) = watched.told(Trouble)
    assert (trouble.stage, trouble.message) == (
        Stage.CAPTURE, "camera:0: it was unplugged, or another program took it"
    )  # fmt: skip
    assert len(watched.told(FrameDescribed)) == len(watched.told(SourceEnded)) == 1


def test_a_moment_without_a_frame_is_no_end() -> None:
    device = FakeDevice([None, BlockingIOError(errno.EAGAIN, ""), None, system_error(errno.EAGAIN), None])
    with pytest.raises(OmniLMMError, match="no more pictures"):
        frames_of(device)


def test_more_frames_than_asked_for_are_passed_over() -> None:
    async def main() -> int:
        device = FakeDevice([None] * 1000)
        async with Camera(0, opener=lambda _: device, fps=0.001) as camera:
            frame = await anext(camera)
            with pytest.raises(OmniLMMError):
                await anext(camera)
            return frame.number

    assert anyio.run(main) == 1


def test_one_that_gives_nothing_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "NO_PICTURE_S", 0.02)
    with pytest.raises(OmniLMMError, match="no picture for"):
        frames_of(FakeDevice([BlockingIOError(errno.EAGAIN, "")] * 100_000))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (system_error(errno.ENOENT), "there is no such camera; plug one in, or name a video with --source"),
        (system_error(errno.ENODEV), "there is no such camera; plug one in, or name a video with --source"),
        (system_error(errno.EBUSY), "another program uses it; close that one first"),
        (system_error(errno.EACCES), "may not be read; become a member of the group video, and log in anew"),
        (ValueError("strange"), "it can't be opened; close other programs that may use it"),
        (ExternalError(542398533, "of a library"), "it can't be opened; close other programs that may use it"),
    ],
)
def test_what_can_not_be_opened_is_one_line(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: Device) -> FakeDevice:
        raise error

    async def main() -> None:
        async with Camera(3, opener=refuse):
            pass

    monkeypatch.setattr(camera_module, "find_device", lambda number: find_device(number, "linux"))
    with pytest.raises(InputError) as found:
        anyio.run(main)
    assert str(found.value).startswith("camera:3: ")
    assert said in str(found.value)


def test_without_a_device_the_libraries_say_so_themselves() -> None:
    async def main() -> None:
        async with Camera(99, opener=lambda _: open_device(Device("/dev/video99", "v4l2", {}))):
            pass

    with pytest.raises(InputError, match=r"^camera:99: "):
        anyio.run(main)


def test_a_camera_that_hangs_is_left_when_the_session_ends() -> None:
    hang = threading.Event()
    began = threading.Event()

    class Hanging(FakeDevice):
        def decode(self, *, video: int) -> Iterator[FakeFrame]:
            began.set()
            hang.wait(20)
            yield FakeFrame()

    async def main() -> None:
        async with Camera(0, opener=lambda _: Hanging([])) as camera, anyio.create_task_group() as group:
            group.start_soon(anext, camera)
            while not began.is_set():
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        assert not hang.is_set()  # it wasn't waited for
        hang.set()

    anyio.run(main)


@pytest.mark.parametrize(
    ("system", "device"),
    [
        ("linux", Device("/dev/video1", "v4l2", {})),
        ("darwin", Device("1:none", "avfoundation", {"framerate": "30", "pixel_format": "uyvy422"})),
        ("win32", Device("video=Back", "dshow", {})),
    ],
)
def test_each_system_has_names_of_its_own(system: str, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "_windows_cameras", lambda: ["Front", "Back"])
    assert find_device(1, system) == device


def test_windows_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "_windows_cameras", lambda: ["Front"])
    with pytest.raises(InputError, match="camera:1: there is one; name camera:0"):
        find_device(1, "win32")
