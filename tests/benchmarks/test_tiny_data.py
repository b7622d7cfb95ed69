"""The built-in model's training data: right by construction, and no test picture in it."""

from __future__ import annotations

import easy_vqa
import numpy as np
import pytest
import torch

from examples.tiny.dataset import easy_vqa_data, questions
from examples.tiny.dataset.kinds import names, plural, with_article
from examples.tiny.dataset.scene import SHAPE_COLORS, SHAPES, Scene, Thing
from examples.tiny.network import CONFIG, new_model, packed_hidden_states
from examples.tiny.packing import Packer
from tests.paths import ROOT

TOKENIZER = ROOT / "examples" / "tiny" / "checkpoint" / "tokenizer.model"


def scene(*things: Thing, background: str = "blue", layout: str = "one") -> Scene:
    return Scene(things, background, layout)


CAT = Thing("cat", None, False, 0.2, 0.8)
OWL = Thing("owl", None, False, 0.75, 0.5)


def test_published_answers_agree() -> None:
    """Every question of ours that easy-VQA asks about the same picture has easy-VQA's answer."""
    asked = easy_vqa_data.questions("train")
    published = {(question.text, question.picture): question.answer for question in asked}
    rng = np.random.default_rng(0)
    compared = 0
    for number, (shape, color) in sorted(easy_vqa_data.facts(asked).items())[:400]:
        picture = scene(Thing(shape, color, True, 0.5, 0.5), background="easy")
        for _ in range(60):
            text, answer = questions.easy_vqa_pair(picture, rng)
            if (text, number) in published:
                compared += 1
                assert published[text, number] == answer, (text, shape, color)
    assert compared > 2000


def test_hints_tell_what_is_there() -> None:
    """Whichever way round the published question is asked, the hint is about the picture alone."""
    asked = easy_vqa_data.questions("train")
    shown = easy_vqa_data.facts(asked)
    compared = 0
    for question in asked:
        if question.picture in shown and question.type == "yes/no":
            words = set(question.text.rstrip("?").split())
            there = bool(words & set(shown[question.picture]))
            assert questions.asked_for_is_there(question.text, question.answer) == there, question
            compared += 1
        elif question.type != "yes/no":
            assert questions.asked_for_is_there(question.text, question.answer) is None
    assert compared > 10000


def test_hints_stand_on_the_question_only() -> None:
    packer = Packer(TOKENIZER.read_bytes(), CONFIG)
    segment = packer.segment(
        [("does the image not contain an owl?", "yes"), ("What is it?", "This is a bee.")], image=True
    )
    marked = {
        packer.decode([segment.ids[place]]).strip(): packer.decode([token]) for place, token in segment.hints.items()
    }
    assert marked == {"owl": "no", "?": "no", "": "no"}  # the last is the end token
    assert not any(segment.learnt[place] for place in segment.hints)


def test_every_published_wording_is_asked() -> None:
    wanted = {question.template for question in easy_vqa_data.questions("test")}
    rng = np.random.default_rng(0)
    made = set()
    for _ in range(3000):
        thing = Thing(SHAPES[rng.integers(3)], list(SHAPE_COLORS)[rng.integers(8)], True, 0.5, 0.5)
        text, answer = questions.easy_vqa_pair(scene(thing), rng)
        made.add(easy_vqa_data.Question(text, answer, 0).template)
    assert made == wanted


def test_test_split_is_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The silhouettes are all that the pictures are made from, and they come from the train split."""

    def refuse() -> None:
        raise AssertionError("the test split was opened")

    monkeypatch.setattr(easy_vqa, "get_test_image_paths", refuse)
    monkeypatch.setattr(easy_vqa, "get_test_questions", refuse)
    found = easy_vqa_data.silhouettes()
    assert len(found) > 2000
    assert set(found) <= {question.picture for question in easy_vqa_data.questions("train")}


def test_silhouette_takes_the_picture_apart() -> None:
    """Put back on its ground, the silhouette gives the picture's own pixels."""
    shown = easy_vqa_data.pictures("train")
    for number, found in list(easy_vqa_data.silhouettes().items())[:50]:
        pixels = np.asarray(shown[number], np.float32)
        rebuilt = np.empty_like(pixels)
        rebuilt[:] = pixels[0, 0] if found.left or found.top else pixels[-1, -1]
        height, width = found.alpha.shape
        box = rebuilt[found.top : found.top + height, found.left : found.left + width]
        box += found.alpha[..., None] * (np.asarray(SHAPE_COLORS[found.color], np.float32) - box)
        assert np.abs(rebuilt - pixels).max() <= 6  # traces of less than 2 % coverage are left out


def test_answers_follow_the_scene() -> None:
    rng = np.random.default_rng(3)
    asked = dict(pair for _ in range(200) for pair in questions.pairs(scene(CAT), rng, 4))
    assert asked["What is this?"] == "This is a cat."
    assert asked["What do you see?"] == "I see a cat."
    assert asked["Describe the image."] == "The picture shows a cat on a blue background."
    assert asked["How many objects are there?"] == "There is one object."
    assert asked["Where is the cat?"] == "The cat is at the bottom left."
    assert asked["What color is the background?"] == "The background is blue."
    for text, answer in asked.items():
        if answer in ("yes", "no"):
            negative = " not " in text or "is no " in text
            assert (answer == "yes") == (("cat" in text.rstrip("?").split()) != negative), text
        if answer.startswith("Yes"):
            assert "cat" in text
        if answer.startswith("No, there is"):
            assert "a cat" not in text.replace("a cat?", "a cat ").replace("a cat in", "") or "cat" not in text.split()


def test_several_things() -> None:
    rng = np.random.default_rng(4)
    left, right = Thing("cat", None, False, 0.27, 0.5), Thing("owl", None, False, 0.73, 0.5)
    asked = dict(pair for _ in range(200) for pair in questions.pairs(scene(left, right, layout="row"), rng, 4))
    assert asked["What is this?"] == "These are a cat and an owl."
    assert asked["What is on the right?"] == "An owl is on the right."
    assert asked["How many objects are there?"] == "There are two objects."
    three = tuple(Thing("mouse", "gray", False, x, y) for x, y in ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73)))
    asked = dict(pair for _ in range(200) for pair in questions.pairs(scene(*three, layout="corners"), rng, 4))
    assert asked["What is this?"] == "These are three mice."
    assert not any(text.startswith("Where is") for text in asked)  # which of them?


def test_border_places_are_not_asked() -> None:
    assert questions.where(scene(CAT), Thing("cat", None, False, 0.38, 0.5)) is None
    assert questions.where(scene(OWL), OWL) == "on the right"


def test_names() -> None:
    assert len(names()) == len(set(names())) >= 100
    assert [with_article(name) for name in ("owl", "unicorn", "hourglass", "horse")] == [
        "an owl", "a unicorn", "an hourglass", "a horse"]  # fmt: skip
    assert [plural(name) for name in ("cherry", "fox", "key", "wolf")] == ["cherries", "foxes", "keys", "wolves"]


def test_packed_rows_equal_the_model_alone() -> None:
    """Questions that share a picture's keys get the logits that each gets in a prompt of its own."""
    torch.manual_seed(0)
    model = new_model().requires_grad_(False)
    packer = Packer(TOKENIZER.read_bytes(), CONFIG)
    features = model.encode_image(torch.randn(2, 3, 112, 112))
    seen = [
        packer.segment([("What is this?", "This is a cat.")], image=True),
        packer.segment([("is there a dog?", "no"), ("What is it?", "This is a bee.")], image=True),
    ]
    blind = [packer.segment([("Hello", "Hello!")], image=False), packer.segment([("Bye", "Goodbye!")], image=False)]
    rows = packer.rows([(True, seen), (False, blind)])
    packed = model.lm_head(packed_hidden_states(model, packer, features, rows))
    for row, segments in enumerate((seen, blind)):
        at = len(packer.picture)
        for segment in segments:
            start = packer.prefix + packer.picture if segments is seen else packer.prefix[: packer.system_length]
            alone = model(torch.tensor([start + segment.ids]), features[:1] if segments is seen else None)[0]
            end = at + len(segment.ids)
            torch.testing.assert_close(packed[row, at:end], alone[-len(segment.ids) :], atol=1e-4, rtol=1e-4)
            at = end
