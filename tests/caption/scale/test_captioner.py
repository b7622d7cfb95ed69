"""`Captioner`: what it says of each picture is what a chat about that picture says."""

from __future__ import annotations

import hashlib
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omnilmm_lite import Captioner, load
from omnilmm_lite.errors import InputError
from tests.paths import ROOT

PICTURES = sorted((ROOT / "examples" / "pictures").glob("*.png"))
QUESTION = "What is this?"


@pytest.fixture(scope="module")
def said() -> dict[Path, str]:
    model = load("tiny", threads=1)
    return {path: model.chat(path).ask(QUESTION, greedy=True) for path in PICTURES}


def captioner(parallel: int = 1) -> Captioner:
    return Captioner("tiny", QUESTION, threads=1, parallel=parallel, greedy=True)


def test_the_pictures_differ(said: dict[Path, str]) -> None:
    assert len(set(said.values())) == len(PICTURES) > 3


@pytest.mark.parametrize("parallel", [1, 3])
def test_each_in_its_place(said: dict[Path, str], parallel: int) -> None:
    given: list[Any] = [PICTURES[0], b"no picture", *PICTURES[1:], "gone.png", PICTURES[0].read_bytes(), *PICTURES]
    rows = [*captioner(parallel).captions(given)]
    assert len(rows) == len(given)
    for source, row in zip(given, rows, strict=True):
        if isinstance(source, Path):
            assert (row.text, row.error) == (said[source], None)
            assert row.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
            assert row.new_tokens and row.prefill_s is not None and row.finish_reason == "stop"
    assert rows[1].text is None and "text; name a picture" in str(rows[1].error)
    assert rows[1].sha256 == hashlib.sha256(b"no picture").hexdigest()
    assert rows[len(PICTURES) + 1].sha256 is None and "no such file" in str(rows[len(PICTURES) + 1].error)
    assert rows[len(PICTURES) + 2].text == said[PICTURES[0]]


def test_pictures_of_pil_and_of_data_sets(said: dict[Path, str]) -> None:
    first, second = PICTURES[:2]
    with Image.open(first) as picture:
        given: list[Any] = [
            picture,
            {"bytes": second.read_bytes(), "path": "x"},
            {"bytes": None, "path": str(first)},
            None,
            {},
        ]
        rows = [*captioner().captions(given)]
    assert [row.text for row in rows] == [said[first], said[second], said[first], None, None]
    assert (
        rows[3].error
        == rows[4].error
        == ("picture: nothing was given; give a file's bytes, its path, or a picture of PIL")
    )


def test_a_batch_keeps_its_other_columns(said: dict[Path, str]) -> None:
    batch = {"bytes": np.array([path.read_bytes() for path in PICTURES[:2]], dtype=object), "id": np.array([7, 8])}
    out = captioner()(batch)
    assert out["text"].tolist() == [said[path] for path in PICTURES[:2]]
    assert out["id"].tolist() == [7, 8] and "bytes" not in out and out["tags"].shape == (2,)
    paths = captioner()({"path": [str(PICTURES[2])]})
    assert (paths["path"], paths["text"].tolist()) == ([str(PICTURES[2])], [said[PICTURES[2]]])
    assert [*captioner()({"bytes": []})["text"]] == []
    with pytest.raises(InputError, match="no column bytes or image or path with pictures; found id"):
        captioner()({"id": [1]})
    with pytest.raises(InputError, match="no column photo"):
        Captioner("tiny", column="photo")({"bytes": [b""]})


def test_copies_share_one_model_and_take_turns(said: dict[Path, str]) -> None:
    first = captioner()
    copies = [pickle.loads(pickle.dumps(first)) for _ in range(3)]
    assert all(copy.model is first.model for copy in copies)
    texts: dict[int, list[str | None]] = {}

    def run(number: int) -> None:
        texts[number] = [row.text for row in copies[number].captions(PICTURES)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: [*said.values()] for number in range(3)}


def test_one_that_is_left_early_leaves_the_model_to_others(said: dict[Path, str]) -> None:
    rows = captioner(parallel=3).captions(PICTURES)
    assert next(rows).text == said[PICTURES[0]]
    rows.close()  # type: ignore[attr-defined]  # a generator
    assert [row.text for row in captioner(parallel=3).captions(PICTURES)] == [*said.values()]


def test_a_thread_that_would_wait_for_itself_is_told(said: dict[Path, str]) -> None:
    model = load("tiny", threads=1)
    one, other = (Captioner(model, QUESTION, greedy=True) for _ in range(2))
    rows = one.captions(PICTURES)
    assert next(rows).text == said[PICTURES[0]]
    for each in (one, other):  # of one model
        with pytest.raises(InputError, match="this thread has rows of the same model to take yet"):
            next(each.captions(PICTURES))
    assert [row.text for row in rows] == [said[path] for path in PICTURES[1:]]
    assert next(other.captions(PICTURES)).text == said[PICTURES[0]]


def test_a_loaded_model_stays_where_it_is(said: dict[Path, str]) -> None:
    model = load("tiny", threads=1)
    given = Captioner(model, QUESTION, greedy=True)
    assert given.model is model
    assert next(given.captions(PICTURES)).text == said[PICTURES[0]]
    with pytest.raises(InputError, match="give the model's name"):
        pickle.dumps(given)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        Captioner("tiny", " ")
    with pytest.raises(InputError, match="no such bundle folder"):
        next(Captioner(tmp_path / "none").captions([]))
    with pytest.raises(InputError, match="temperature"):
        next(Captioner("tiny", temperature=-1.0).captions(PICTURES))
    tags = next(Captioner("tiny", QUESTION, tags=True, greedy=True).captions(PICTURES))
    assert tags.tags == () and tags.text == ""  # a sentence is no list
