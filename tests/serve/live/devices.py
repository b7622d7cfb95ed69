"""A browser's camera and microphone, played from files that are made here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from tests.live.media.scenes import SIZE, Scene
from tests.live.media.spoken import conversation, write_wav

FPS = 5


def write_y4m(path: Path, scenes: Sequence[Scene], seconds: float = 5.0) -> Path:
    """Each scene stands still for `seconds`; the browser plays them over and over.

    Source: https://wiki.multimedia.cx/index.php/YUV4MPEG2
    """
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIZE} H{SIZE} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for scene in scenes:
            frame = av.VideoFrame.from_ndarray(np.asarray(scene.image()), format="rgb24").reformat(format="yuv420p")
            planes = np.ascontiguousarray(frame.to_ndarray()).tobytes()  # Y, then U and V at half the size
            for _ in range(round(seconds * FPS)):
                file.write(b"FRAME\n" + planes)
    return path


def camera(path: Path) -> str:
    """Chromium's option."""
    return f"--use-file-for-fake-video-capture={path}"


def microphone(path: Path, *texts: str) -> str:
    """Chromium's option for somebody who says these, once."""
    write_wav(path, conversation(*texts, lead_s=1.0, between_s=4.0), 16_000)
    return f"--use-file-for-fake-audio-capture={path}%noloop"
