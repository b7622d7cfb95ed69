"""Videos, folders, screens and what is put in, as sources of frames."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import mss
import numpy as np
import pytest

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.frames.camera import Camera
from omnilmm_lite.live.frames.folder import PictureFolder
from omnilmm_lite.live.frames.frame import Frame
from omnilmm_lite.live.frames.opening import open_source
from omnilmm_lite.live.frames.pushed import PushedFrames
from omnilmm_lite.live.frames.screen import Screen
from omnilmm_lite.live.frames.source import FrameSource
from omnilmm_lite.live.frames.video_file import VideoFile
from tests.live.media.scenes import FPS, SCENES, write_video
from tests.live.sessions import shape


def frames_of(source: FrameSource, most: int = 1000) -> list[Frame]:
    async def main() -> list[Frame]:
        found: list[Frame] = []
        async with source:
            async for frame in source:
                found.append(frame)
                if len(found) == most:
                    break
        return found

    return anyio.run(main)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "scenes.mp4", SCENES[:2], seconds=1.0)


# ---- videos ----


def test_a_video_gives_its_frames_with_their_positions(video: Path) -> None:
    frames = frames_of(VideoFile(video, real_time=False, fps=FPS))
    assert [each.number for each in frames] == list(range(1, 2 * FPS + 1))
    assert [each.position_s for each in frames] == pytest.approx([each / FPS for each in range(2 * FPS)])
    for frame, scene in ((frames[0], SCENES[0]), (frames[-1], SCENES[1])):
        assert (frame.picture.mode, frame.picture.size) == ("RGB", scene.image().size)
        change = np.abs(np.asarray(frame.picture, float) - np.asarray(scene.image(), float)).mean()
        assert change < 4  # of 255, which the codec takes


def test_fewer_frames_a_second_may_be_taken(video: Path) -> None:
    frames = frames_of(VideoFile(video, real_time=False, fps=2))
    assert [each.position_s for each in frames] == pytest.approx([0, 0.5, 1, 1.5])


def test_in_real_time_a_frame_comes_when_its_time_has(video: Path) -> None:
    began = time.monotonic()
    frames = frames_of(VideoFile(video, fps=4), most=4)
    assert frames[-1].captured_s - began >= 0.75  # never before


def test_a_loop_goes_on_with_its_positions(video: Path) -> None:
    frames = frames_of(VideoFile(video, real_time=False, fps=2, loops=True), most=9)
    positions = [each.position_s or 0.0 for each in frames]
    assert positions == sorted(positions)
    assert positions[8] > 3.5
    same = np.abs(np.asarray(frames[0].picture, float) - np.asarray(frames[4].picture, float)).mean()
    assert same < 4


def test_a_video_that_is_damaged_in_the_middle_gives_what_it_has(video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    write_video(cut, SCENES[:2], seconds=1.0)
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    assert 0 < len(frames_of(VideoFile(cut, real_time=False, fps=FPS))) < 2 * FPS


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_bytes(b""), "it is no video"),
        (lambda path: path.write_bytes(b"no video at all" * 100), "it is no video"),
        (lambda path: path.mkdir(), "it is no video"),
    ],
)
def test_what_is_no_video_is_one_line(make: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(InputError, match=said):
        frames_of(VideoFile(path))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import wave

    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000))
    with pytest.raises(InputError, match="there is no video in this file"):
        frames_of(VideoFile(path))


# ---- folders ----


def test_a_folder_gives_its_pictures_by_name_without_those_that_can_not_be_read(tmp_path: Path) -> None:
    for name, colour in (("b.png", "blue"), ("a.png", "red"), ("d.png", "green")):
        shape(colour).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("none either", encoding="utf-8")
    frames = frames_of(PictureFolder(tmp_path))
    assert [each.number for each in frames] == [1, 2, 3]
    middles = [each.picture.getpixel((80, 60)) for each in frames]
    assert middles == [(255, 0, 0), (0, 0, 255), (0, 128, 0)]


def test_a_folder_without_a_picture_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no picture"):
        frames_of(PictureFolder(tmp_path))
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(OmniLMMError, match=r"a\.png"):
        frames_of(PictureFolder(tmp_path))


# ---- screens ----


class FakeScreens:
    """Two screens side by side, of 4x2 pixels each, in one colour."""

    monitors: tuple[tuple[int, ...], ...] = ((0, 0, 8, 2), (0, 0, 4, 2), (4, 0, 4, 2))
    fails: Exception | None = None

    def grab(self, monitor: tuple[int, ...]) -> SimpleNamespace:
        if self.fails is not None:
            raise self.fails
        return SimpleNamespace(size=monitor[2:], bgra=bytes((10, 20, 30, 0)) * monitor[2] * monitor[3])

    def close(self) -> None:
        if self.fails is not None:
            raise self.fails


@pytest.mark.parametrize(("number", "size"), [(None, (8, 2)), (2, (4, 2))])
def test_a_screen_is_what_it_shows(number: int | None, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mss, "MSS", FakeScreens)
    frames = frames_of(Screen(number), most=2)
    assert [each.number for each in frames] == [1, 2]
    assert (frames[0].picture.size, frames[0].picture.getpixel((0, 0))) == (size, (30, 20, 10))


def test_a_screen_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mss, "MSS", FakeScreens)
    with pytest.raises(InputError, match="screen:3: there are 2; name screen:1 to 2, or screen for all"):
        frames_of(Screen(3))
    for gone in (mss.ScreenShotError("gone"), AssertionError()):  # the second: the X server has ended
        monkeypatch.setattr(FakeScreens, "fails", gone)
        with pytest.raises(OmniLMMError, match="screen: the screen gives no more pictures"):
            frames_of(Screen())

    def refuse() -> FakeScreens:
        raise mss.ScreenShotError("no display")

    monkeypatch.setattr(mss, "MSS", refuse)
    with pytest.raises(InputError, match="screen: no screen can be seen from here"):
        frames_of(Screen())


# ---- what is put in ----


def test_of_what_is_put_in_faster_than_taken_the_last_is_given() -> None:
    async def main() -> list[int]:
        source, found = PushedFrames("browser"), list[int]()
        async with source:
            source.put(shape("red"))
            source.put(shape("blue"))
            found.append((await anext(source)).number)
            source.put(shape("green"))
            source.end()
            found += [each.number async for each in source]
        return found

    assert anyio.run(main) == [2, 3]


# ---- by name ----


def test_a_name_says_what_it_is(video: Path, tmp_path: Path) -> None:
    assert isinstance(open_source("camera"), Camera)
    assert open_source("camera:12").name == "camera:12"
    assert isinstance(open_source("screen"), Screen)
    assert open_source("screen:2").name == "screen:2"
    assert isinstance(open_source(str(video)), VideoFile)
    assert isinstance(open_source(str(tmp_path)), PictureFolder)


def test_a_file_may_be_called_as_a_camera_is(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(video, tmp_path / "camera")
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_source("camera"), VideoFile)


@pytest.mark.parametrize("name", ["camera:", "camera:x", "camera:-1", "camera:1234", "screen:0", "screen:٣", "nowhere"])
def test_what_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="--source"):
        open_source(name)
