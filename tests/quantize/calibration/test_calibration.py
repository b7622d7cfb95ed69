"""What the decoder is calibrated on: sequences from the user's data, and their embeddings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import load_module
from export.reference.model import OmniLMM
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image
from quantize.calibration.embedded_sequences import embed_sequences
from quantize.calibration.token_sequences import CalibrationLimits, TokenSequence, read_sequences
from tests.small_checkpoint import TINY


class Letters:
    """A tokenizer whose ids are the text's code points."""

    def encode_text(self, text: str) -> list[int]:
        return [min(ord(char), 31999) for char in text]


def text_of(prompt: TokenSequence) -> str:
    return "".join(map(chr, prompt.ids))


def write_pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{index:02}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


def test_pictures_of_a_folder_are_asked_about(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 5)
    limits = CalibrationLimits(samples=4, tokens=400)
    prompts = read_sequences(tmp_path / "pictures", Letters(), TINY, limits)
    assert prompts == read_sequences(tmp_path / "pictures", Letters(), TINY, limits)
    assert len({prompt.image for prompt in prompts}) == 4
    assert {prompt.image for prompt in prompts} <= set(pictures)
    assert all(prompt.ids.count(TINY.tokens.im_patch) == TINY.resampler.num_queries for prompt in prompts)
    other = read_sequences(tmp_path / "pictures", Letters(), TINY, dataclasses.replace(limits, seed=1))
    assert prompts != other
    with pytest.raises(InputError, match="more than 160 tokens a sequence"):
        read_sequences(tmp_path / "pictures", Letters(), TINY, CalibrationLimits(tokens=160))


def test_lines_with_and_without_pictures_and_answers(tmp_path: Path) -> None:
    (picture,) = write_pictures(tmp_path / "pictures", 1)
    lines = [
        {"image": "pictures/00.png", "question": "What?", "answer": "That."},
        {"question": "Why?", "answer": "So."},
        {"question": "Who?"},
    ]
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    limits = CalibrationLimits(tokens=400)
    images = {text_of(prompt): prompt.image for prompt in read_sequences(file, Letters(), TINY, limits)}
    answers = {text.rpartition("<|user|>\n")[2]: image for text, image in images.items()}
    patches = "".join(map(chr, [TINY.tokens.im_start, *[TINY.tokens.im_patch] * 16, TINY.tokens.im_end]))
    assert answers == {
        f"{patches}\nWhat?\x02\n<|assistant|>\nThat.\x02": picture,
        "Why?\x02\n<|assistant|>\nSo.\x02": None,
        "Who?\x02\n<|assistant|>\n": None,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": ""}', 'line 1 has no "question"'),
        ('{"question": 3}', 'line 1: "question" must be a string, not 3'),
        ('{"question": "What?", "image": "no.png"}', "line 1: there is no picture"),
        ("[]", "line 1 must hold a JSON object"),
        ("", "is empty"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(line)
    with pytest.raises(InputError, match=message):
        read_sequences(file, Letters(), TINY, CalibrationLimits())


def test_text_is_cut_into_whole_sequences(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("abcdefghijk")
    prompts = read_sequences(file, Letters(), TINY, CalibrationLimits(tokens=5))
    texts = sorted(map(text_of, prompts))
    assert texts == ["\x01abcd", "\x01efgh"]
    (short,) = read_sequences(file, Letters(), TINY, CalibrationLimits(tokens=50))
    assert len(short.ids) == 12


def test_unusable_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no picture \(\.jpg .*\) in this folder"):
        read_sequences(tmp_path, Letters(), TINY, CalibrationLimits())
    with pytest.raises(InputError, match=r"can't be used \(No such file"):
        read_sequences(tmp_path / "none.txt", Letters(), TINY, CalibrationLimits())
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(InputError, match="it is no UTF-8 text"):
        read_sequences(tmp_path / "binary", Letters(), TINY, CalibrationLimits())


def test_the_built_in_conversations() -> None:
    prompts = read_sequences(None, Letters(), TINY, CalibrationLimits(tokens=300))
    assert len(prompts) >= 20
    assert max(len(prompt.ids) for prompt in prompts) <= 300


def test_embeddings_are_the_references(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """More pictures than go through the tower at once, one of them twice; found again in the cache."""
    model = load_module(tiny_checkpoint, "", lambda: OmniLMM(TINY))
    pictures = [*write_pictures(tmp_path / "pictures", 9), tmp_path / "pictures" / "00.png"]
    ids = [1, 70, TINY.tokens.im_start, *[TINY.tokens.im_patch] * TINY.resampler.num_queries, TINY.tokens.im_end, 5]
    prompts = [TokenSequence(tuple(ids), picture) for picture in pictures] + [TokenSequence((1, 2, 3))]
    calibration = embed_sequences(tiny_checkpoint, prompts, tmp_path / "cache")
    with torch.inference_mode():
        for prompt, sample in zip(prompts, calibration.sequences, strict=True):
            features = None
            if prompt.image is not None:
                pixels = torch.from_numpy(preprocess(load_image(prompt.image), TINY.vision))
                features = model.encode_image(pixels)
            expected = model.embed(torch.tensor([prompt.ids]), features)
            torch.testing.assert_close(sample.embed(), expected, atol=1e-4, rtol=1e-4)
            assert sample.is_image.sum() == (TINY.resampler.num_queries if prompt.image else 0)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    assert len(files) == 4  # two batches, each with its checksum
    again = embed_sequences(tiny_checkpoint, prompts, tmp_path / "cache")
    assert {file: file.stat().st_mtime_ns for file in files} == files
    assert again.fingerprint == calibration.fingerprint
    for before, after in zip(calibration.sequences, again.sequences, strict=True):
        assert torch.equal(before.embed(), after.embed())
    assert embed_sequences(tiny_checkpoint, prompts[1:], tmp_path / "cache").fingerprint != calibration.fingerprint
