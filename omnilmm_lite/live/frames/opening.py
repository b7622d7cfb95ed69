"""What `--source` names, as a source of frames."""

from __future__ import annotations

import os
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.frames.source import FrameSource
from omnilmm_lite.machine.extras import Extra, missing_package

CAMERA, SCREEN = "camera", "screen"


def open_source(name: str) -> FrameSource:
    """`camera`, `camera:1`, `screen`, `screen:2`, a folder of pictures or a video file; nothing is opened before it is
    entered. InputError where it is none of them, or its package isn't there."""
    kind, colon, number = name.partition(":")
    if kind in (CAMERA, SCREEN) and not Path(name).exists():
        return _device(kind, _number(name, number) if colon else None)
    path = Path(os.path.expanduser(name))  # noqa: PTH111  # raises nothing for unknown users
    if path.is_dir():
        from omnilmm_lite.live.frames.folder import PictureFolder

        return PictureFolder(path)
    if not path.exists():
        raise InputError(f"--source: there is no {name}; give camera:0, screen, a video file or a folder of pictures")
    _check("a video file", "av")
    from omnilmm_lite.live.frames.video_file import VideoFile

    return VideoFile(path)


def _device(kind: str, number: int | None) -> FrameSource:
    if kind == CAMERA:
        _check("a camera", "av")
        from omnilmm_lite.live.frames.camera import Camera

        return Camera(number or 0)
    _check("a screen", "mss")
    from omnilmm_lite.live.frames.screen import Screen

    if number == 0:
        raise InputError("--source screen:0: screens are counted from 1; `screen` alone takes all of them")
    return Screen(number)


def _check(what: str, package: str) -> None:
    """InputError where it can't be imported."""
    try:
        __import__(package)
    except ImportError as error:
        raise missing_package(what, error, Extra.LIVE) from None


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 3:
        raise InputError(f"--source {name}: {text!r} is no number; give one such as camera:0 or screen:1")
    return int(text)
