"""The model that ships: whole, small, made from the committed checkpoint, and right about real pictures."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from easy_vqa import get_test_image_paths, get_test_questions

from omnilmm_lite.bundle.folder import Bundle, sha256
from omnilmm_lite.model import Model, load
from tests.paths import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load()


def test_it_is_whole_small_and_made_from_the_committed_checkpoint() -> None:
    bundle = Bundle.find(None)
    bundle.verify()
    assert sum(entry.size for entry in bundle.manifest.files) < 12_000_000
    assert bundle.manifest.preset == "cpu"
    for source in bundle.manifest.source["files"]:
        assert sha256(EXAMPLES / "tiny" / "checkpoint" / source["path"]) == source["sha256"]


@pytest.mark.parametrize(
    ("picture", "answer"),
    [
        ("cat.png", "This is a cat."),
        ("easy-vqa-brown-triangle.png", "This is a brown triangle."),
        ("easy-vqa-teal-circle.png", "This is a teal circle."),
        ("owl-on-a-photo.jpg", "This is an owl."),
    ],
)
def test_the_example_pictures_are_named(tiny: Model, picture: str, answer: str) -> None:
    assert tiny.chat(EXAMPLES / "pictures" / picture).ask("What is this?", greedy=True) == answer


def test_a_sample_of_easy_vqas_test_split(tiny: Model) -> None:
    """Every 40th question of the published split; docs/tiny.md has all of them."""
    questions, answers, numbers = get_test_questions()
    pictures = get_test_image_paths()
    right = [
        tiny.chat(pictures[number]).ask(question, greedy=True, max_new_tokens=8) == answer
        for question, answer, number in list(zip(questions, answers, numbers, strict=True))[::40]
    ]
    assert len(right) == 242
    assert np.mean(right) > 0.95  # measured: see docs/tiny.md; three standard errors below


def test_it_looks_at_the_picture(tiny: Model) -> None:
    chats = [tiny.chat(EXAMPLES / "pictures" / f"easy-vqa-{name}.png") for name in ("brown-triangle", "teal-circle")]
    assert [chat.ask("what color is the shape?", greedy=True) for chat in chats] == ["brown", "teal"]


def test_the_command_line_answers_with_it() -> None:
    command = [
        sys.executable,
        "-m",
        "cli",
        "run",
        str(EXAMPLES / "pictures" / "cat.png"),
        "-p",
        "What is this?",
        "--json",
    ]
    answer = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    )
    assert answer["text"] == "This is a cat."
    assert answer["finish_reason"] == "stop"
