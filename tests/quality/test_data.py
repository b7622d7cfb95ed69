"""Which sequences are compared, and which of their positions count as what."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.quality.data import (
    AFTER_PICTURE,
    EvaluationSequence,
    Kind,
    build_samples,
    positions,
    read_data,
)
from omnilmm_lite.text.conversations import BUILTIN_CONVERSATIONS, Conversation
from tests.small_checkpoint import TINY

TOKENS = TINY.tokens
PICTURE = (TOKENS.im_start, *[TOKENS.im_patch] * TINY.resampler.num_queries, TOKENS.im_end)


class Letters:
    """A tokenizer whose ids are the text's code points."""

    def encode_text(self, text: str) -> list[int]:
        return [min(ord(char), 31999) for char in text]


def text_of(ids: tuple[int, ...]) -> str:
    return "".join(map(chr, ids))


def samples_of(data: list[Conversation] | str, limit: int = 100) -> list[EvaluationSequence]:
    return build_samples(data, Letters(), TINY, limit)


def save_picture(path: Path) -> Path:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return path


def test_the_answer_begins_behind_its_heading_and_has_its_end() -> None:
    answered, asked = samples_of([Conversation("What?", "That."), Conversation("Who?")])
    assert answered.answer_start is not None
    assert text_of(answered.ids[: answered.answer_start]).endswith("<|assistant|>\n")
    assert text_of(answered.ids[answered.answer_start :]) == "That.\x02"
    assert (answered.is_unanswered, asked.is_unanswered) == (False, True)
    assert text_of(asked.ids).endswith("Who?\x02\n<|assistant|>\n")
    (text,) = samples_of("plain")
    assert text == EvaluationSequence((1, *map(ord, "plain")))
    assert not text.is_unanswered


def test_kinds_by_hand() -> None:
    """A picture behind two tokens, then twelve tokens of which the last two are the answer."""
    rest = tuple(range(100, 112))
    start = 2 + len(PICTURE)
    sample = EvaluationSequence((1, 50, *PICTURE, *rest), Path("a.png"), start + 10)
    (found,) = positions([sample], TINY)
    # asked: for 50, for im_start, and from the last patch on
    last_patch = start - 2
    assert found.rows.tolist() == [0, 1, *range(last_patch, start + 11)]
    assert found.targets.tolist() == [50, TOKENS.im_start, TOKENS.im_end, *rest]
    after = [Kind.AFTER_PICTURE] * AFTER_PICTURE  # im_end and the first seven of the rest
    assert found.kinds.tolist() == [Kind.TEXT] * 2 + after + [Kind.TEXT] * 3 + [Kind.ANSWER] * 2


def test_an_answer_right_behind_a_picture_is_an_answer() -> None:
    (found,) = positions([EvaluationSequence((1, *PICTURE, 100, 101), Path("a.png"), len(PICTURE) + 1)], TINY)
    assert found.kinds.tolist()[-3:] == [Kind.AFTER_PICTURE, Kind.ANSWER, Kind.ANSWER]


def test_what_samples_begin_with_counts_once() -> None:
    one, other = Path("one.png"), Path("other.png")
    samples = [
        EvaluationSequence((1, 5, 6, 7)),
        EvaluationSequence((1, 5, 6, 8)),  # 8 is new
        EvaluationSequence((1, 5, 9, 7)),  # 9 is, and so is everything after it
        EvaluationSequence((1, 5, 6, 7)),
        EvaluationSequence((1, *PICTURE, 5), one),
        EvaluationSequence((1, *PICTURE, 5), other),  # after another picture, all is new
        EvaluationSequence((1, *PICTURE, 6), one),
    ]
    found = [which.targets.tolist() for which in positions(samples, TINY)]
    start, end = TOKENS.im_start, TOKENS.im_end
    assert found == [[5, 6, 7], [8], [9, 7], [], [start, end, 5], [end, 5], [6]]


def test_the_built_in_data_has_pictures_and_answers() -> None:
    samples = samples_of(read_data(None, 64))
    records = [json.loads(line) for line in BUILTIN_CONVERSATIONS.read_text(encoding="utf-8").splitlines()]
    assert len(samples) == len(records)
    assert sum(sample.image is not None for sample in samples) == sum("image" in record for record in records) > 0
    assert not any(sample.is_unanswered for sample in samples)
    kinds = Counter(kind for which in positions(samples, TINY) for kind in which.kinds.tolist())
    assert set(kinds) == set(Kind)


def test_a_limit_draws_the_same_samples_each_time(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps({"question": f"{i}?", "answer": "So."}) + "\n" for i in range(30)))
    chosen = read_data(file, 5)
    assert len(chosen) == 5
    assert chosen == read_data(file, 5)
    assert len(read_data(file, 50)) == 30
    text = tmp_path / "text.txt"
    text.write_text("x" * 5000)
    data = read_data(text, 5)
    assert [len(sample.ids) for sample in samples_of(data, 5)] == [512] * 5
    assert len(samples_of(data, 50)) == 9


def test_a_folder_of_pictures_is_asked_about(tmp_path: Path) -> None:
    pictures = [save_picture(tmp_path / f"{i}.png") for i in range(3)]
    samples = samples_of(read_data(tmp_path, 10))
    assert [sample.image for sample in samples] == pictures
    assert [sample.picture_name for sample in samples] == ["0.png", "1.png", "2.png"]
    assert all(sample.is_unanswered for sample in samples)
    kinds = {kind for which in positions(samples, TINY) for kind in which.kinds.tolist()}
    assert kinds == {Kind.TEXT, Kind.AFTER_PICTURE}


def test_bad_data_is_said_before_any_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"broken\.png: this is not a"):
        read_data(tmp_path, 10)
    with pytest.raises(InputError, match=r"can't be used \(No such file"):
        read_data(tmp_path / "no such file", 10)
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(InputError, match="is empty"):
        read_data(empty, 10)
    with pytest.raises(InputError, match="no token to predict"):
        samples_of("")
