"""What is run in one go decides how sums are rounded: the same pieces, whatever was asked before."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from omnilmm_lite import load
from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.running.question import Question, by_picture
from omnilmm_lite.evaluation.running.respondent import Respondent
from omnilmm_lite.sampling_params import SamplingParams
from tests.paths import ROOT

PICTURES = ROOT / "examples" / "pictures"
# The second and the third begin alike, which an ordinary chat would make use of.
PROMPTS = (
    "what is the color of the shape?",
    "is there a red shape in the image?",
    "is there a red circle in the image?",
)


@pytest.mark.parametrize("letters", [(), ("A", "B")])
def test_pieces_are_the_same_in_a_run_that_goes_on(letters: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(threads=1)
    decoder = model.text.decoder
    pieces: list[tuple[int, int]] = []  # tokens that were held before, and of the piece
    prefill = decoder.prefill

    @functools.wraps(prefill)
    def recorded(keys: list[object], embeddings: object) -> object:
        pieces.append((decoder.length, len(keys)))
        return prefill(keys, embeddings)  # type: ignore[arg-type]

    monkeypatch.setattr(decoder, "prefill", recorded)
    features = [model.vision.encode(PICTURES / name) for name in ("cat.png", "easy-vqa-teal-circle.png")]

    def ask(number: int, picture: int) -> tuple[list[tuple[int, int]], str]:
        pieces.clear()
        respondent = Respondent(model, SamplingParams.greedy(max_new_tokens=4))
        question = Question(Item("1", "?"), PROMPTS[number], letters)
        query = respondent.query(question)
        prompt = Prompt(query.ids, features[picture])
        answer = Answer(model.text, prompt, query.params, cuts_at_picture=query.cuts_at_picture)
        for _ in answer:
            pass
        return [*pieces], respondent.reply(question, answer).text

    for picture in (0, 1):
        for number in range(len(PROMPTS)):
            went_on, text = ask(number, picture)
            decoder.clear()
            anew, same = ask(number, picture)
            beginning = anew[0]
            assert anew == [beginning, *went_on[-len(anew) + 1 :]]
            assert went_on in (anew, anew[1:])  # the picture's beginning is run once
            assert text == same
            if number:
                assert went_on == anew[1:]
            # leave the cache as an answer to another question leaves it
            ask((number + 1) % len(PROMPTS), picture)


def test_questions_about_one_picture_come_together() -> None:
    questions = [
        Question(Item(str(number), "?", pictures=(FilePicture(Path(name)),)), "?")
        for number, name in enumerate("abacb")
    ]
    groups = by_picture(questions)
    assert [[each.item.index for each in group] for group in groups] == [["0", "2"], ["1", "4"], ["3"]]
