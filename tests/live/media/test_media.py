"""The test media are what they say: or every test with them would be about something else."""

from __future__ import annotations

from functools import cache

import av
import pytest
from PIL import Image

from omnilmm_lite.live.ears.opening import open_recogniser
from omnilmm_lite.model import BundleModel, load
from omnilmm_lite.sampling_params import SamplingParams
from tests.live.media.scenes import SCENES, Scene, write_video
from tests.live.media.spoken import spoken

GREEDY = SamplingParams.greedy(max_new_tokens=40)
WHAT_HAPPENS = "What is happening in the image?"


@cache
def tiny() -> BundleModel:
    return load()


def answer(picture: Image.Image, question: str) -> str:
    chat = tiny().chat(picture)
    return "".join(chat.follow(question, chat.answer(question, GREEDY)))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image.Image]:
    """A frame of each scene, as it comes out of the video."""
    path = write_video(tmp_path_factory.mktemp("video") / "scenes.mp4", seconds=0.5)
    with av.open(str(path)) as container:
        decoded = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    each = len(decoded) // len(SCENES)
    assert len(decoded) == each * len(SCENES)
    return {scene.name: decoded[each * index + each - 1] for index, scene in enumerate(SCENES)}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_tiny_describes_a_scene_of_the_video(scene: Scene, frames: dict[str, Image.Image]) -> None:
    assert answer(frames[scene.name], WHAT_HAPPENS) == scene.description


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_spoken_question_is_heard_and_answered_as_a_typed_one(scene: Scene, frames: dict[str, Image.Image]) -> None:
    recogniser = open_recogniser("pocketsphinx")
    assert recogniser is not None
    for question, true in scene.answers.items():
        heard = recogniser.hear(spoken(question))
        assert (heard, answer(frames[scene.name], heard)) == (question, true)
