"""The questions that quality is measured on, against the package that they are from."""

from __future__ import annotations

import json
from pathlib import Path

import easy_vqa
import numpy as np
from PIL import Image

from examples.tiny.easy_vqa_questions import write_questions


def test_every_fortieth_question_has_its_picture_and_answer(tmp_path: Path) -> None:
    texts, answers, pictures = easy_vqa.get_test_questions()
    files = easy_vqa.get_test_image_paths()
    assert write_questions(tmp_path, 40) == len(texts[::40]) == 242
    lines = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["question"], line["answer"]) for line in lines] == [*zip(texts[::40], answers[::40], strict=True)]
    for line, number in [*zip(lines, pictures[::40], strict=True)][::60]:
        with Image.open(files[number]) as original, Image.open(tmp_path / line["image"]) as written:
            assert np.array_equal(np.asarray(original.convert("RGB")), np.asarray(written))
