"""CHAIR against RLHF-V's own, with WordNet's lemmas, on the same answers, and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.coco import json_array
from omnilmm_lite.evaluation.data.coco.annotations import read_annotations
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.scoring.objhal import chair
from omnilmm_lite.evaluation.scoring.objhal.pictures import read_present
from omnilmm_lite.evaluation.scoring.objhal.vocabulary import Vocabulary
from tests.evaluation.golden import load, score_named

LINES = [["person", "man", "men", "child"], ["dog", "hot-dog"], ["hot dog"], ["chair", "seat"], ["toilet"], ["train"]]
VOCABULARY = Vocabulary.of(LINES)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return load("objhal")


@pytest.fixture(scope="module")
def vocabulary(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("objhal") / "synonyms.txt"
    path.write_text("\n".join(golden["synonyms"]) + "\n", encoding="utf-8")
    return Vocabulary.read(path)


def _write_coco(folder: Path, golden: dict[str, Any]) -> None:
    """Half of the pictures in each split, with more in each entry than is needed."""
    names = sorted({name for _, name in golden["categories"]})
    for split, odd in (("val", 0), ("train", 1)):
        marked = [
            {"segmentation": [[1.5, 2, 1e3]], "image_id": picture, "category_id": names.index(name), "id": 7}
            for picture, name in golden["categories"]
            if picture % 2 == odd
        ]
        said = [{"image_id": picture, "caption": text} for picture, text in golden["captions"] if picture % 2 == odd]
        categories = [{"supercategory": "x", "id": number, "name": name} for number, name in enumerate(names)]
        files = {
            "instances": {"info": {"year": 2014}, "annotations": marked, "categories": categories},
            "captions": {"images": [], "annotations": said, "licenses": []},
        }
        for kind, content in files.items():
            (folder / f"{kind}_{split}2014.json").write_text(json.dumps(content), encoding="utf-8")


def test_agrees_with_rlhf_v(golden: dict[str, Any], vocabulary: Vocabulary, tmp_path: Path) -> None:
    _write_coco(tmp_path, golden)
    found = read_annotations(tmp_path, {picture for picture, _ in golden["answers"]})
    present = {each: chair.objects_present(one.categories, one.captions, vocabulary) for each, one in found.items()}
    assert {str(each): sorted(objects) for each, objects in present.items()} == golden["present"]
    for (picture, text), (objects, hallucinated) in zip(golden["answers"], golden["sentences"], strict=True):
        ours = chair.mentions(text, present[picture], vocabulary)
        assert (list(ours.objects), list(ours.hallucinated)) == (objects, hallucinated), text
    answers = [
        Prediction(Item(str(n), "?", attributes={"image_id": str(picture)}), text)
        for n, (picture, text) in enumerate(golden["answers"])
    ]
    by_index = read_present([each.item for each in answers], tmp_path, vocabulary)
    result, metrics = chair.score(answers, by_index, vocabulary), golden["metrics"]
    assert score_named(result, "CHAIRs") == pytest.approx(100 * metrics["CHAIRs_refine"])
    assert score_named(result, "CHAIRi") == pytest.approx(100 * metrics["CHAIRi"])
    assert score_named(result, "answers without hallucination") == pytest.approx(100 - 100 * metrics["CHAIRs_refine"])
    assert score_named(result, "CHAIRs over all answers, as its authors count") == pytest.approx(
        100 * metrics["CHAIRs"]
    )
    assert score_named(result, "recall of objects") == pytest.approx(100 * metrics["obj_rec"])
    assert result.unparsed == len(answers) - metrics["coco_sentence_num"]


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("A man and two men.", ["person", "person"]),
        ("Men, children", ["person", "person"]),
        ("hot dogs and dogs", ["hot dog", "dog"]),
        ("a hot, dog", ["dog"]),  # a comma divides the pair
        ("the toilet seat; a seat", ["toilet"]),
        ("a seat", ["chair"]),
        ("a train on the train track", ["train"]),
        ("a passenger train", ["train"]),
        ("dog/man", []),  # one word for the tokenizer
        ("The dog's man's", ["dog", "person"]),
        ("dog.", ["dog"]),
        ("dog.man", []),
        ("", []),
    ],
)
def test_objects_by_hand(text: str, objects: list[str]) -> None:
    assert [name for _, name in chair.find_objects(text, VOCABULARY)] == objects


def test_rates_by_hand() -> None:
    """Three answers, of which two name objects and one of those a wrong one: 50 %; of four objects one: 25 %."""
    texts = ["a dog and a man", "a dog, a train", "nothing"]
    present = {str(n): frozenset({"dog", "person"}) for n in range(3)}
    result = chair.score([Prediction(Item(str(n), "?"), text) for n, text in enumerate(texts)], present, VOCABULARY)
    assert [each.value for each in result.scores] == pytest.approx([50, 75, 50, 25, 100 / 3, 50])
    assert [each.correct for each in result.verdicts] == [True, False, False]
    assert result.unparsed == 1


@given(st.text())
def test_any_text_is_gone_through(text: str) -> None:
    found = chair.mentions(text, frozenset({"dog"}), VOCABULARY)
    assert set(found.hallucinated) <= set(found.objects) - {"dog"}


def test_a_list_without_a_category_is_refused() -> None:
    with pytest.raises(InputError, match="lacks COCO's 'zebra'"):
        chair.objects_present(["zebra"], [], VOCABULARY)


def test_pictures_that_coco_does_not_know_are_refused(golden: dict[str, Any], tmp_path: Path) -> None:
    _write_coco(tmp_path, golden)
    with pytest.raises(InputError, match="nothing about 1 picture, such as 4"):
        read_annotations(tmp_path, {4})


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_arrays_are_read_in_pieces_of_any_size(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [{"a": [1.5e3, -2, {"b": ']}"\\'}]}, 12345, "x", None, [[]], "\u732b"]
    path = tmp_path / "large.json"
    path.write_text(json.dumps({"other": [{}, 1], "n": 12, "wanted": entries, "z": 1}, indent=1), encoding="utf-8")
    monkeypatch.setattr(json_array, "CHUNK", chunk)
    assert list(json_array.read_array(path, "wanted")) == entries
    assert list(json_array.read_array(path, "other")) == [{}, 1]


@pytest.mark.parametrize("text", ["", "[]", '{"wanted": [1, 2', '{"wanted": [1 2]}', '{"other": []}', '{"wanted"}'])
def test_broken_arrays_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"'wanted' can't be read .*; download the file again"):
        list(json_array.read_array(path, "wanted"))
