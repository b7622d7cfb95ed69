"""A text cut into sentences as it comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omnilmm_lite.live.voices.sentences import LONGEST, SentenceCutter

TEXTS = st.text(st.sampled_from("ab Z.!?…,\n\"'”)1。？ 中"), max_size=80)  # noqa: RUF001


def cut(*pieces: str) -> list[str]:
    cutter = SentenceCutter()
    return [sentence for piece in pieces for sentence in cutter.push(piece)] + cutter.finish()


@pytest.mark.parametrize(
    "sentences",
    [
        ["No, there is no dog. ", "There is a cat."],
        ["No. ", "It is a cat."],
        ["Really? ", "Yes! ", "It is."],
        ["He said: “Look!” ", "Then he left."],
        ["It is (perhaps) a dog.) ", "Or not."],
        ["Wait... ", "It moves… ", "Now it stands."],
        ["It weighs 3.5 kg. ", "That is much."],
        ["There are 3. ", "No more."],
        ["See omnilmm.example.org for it. ", "Good."],
        ["Mr. Smith and Dr. Jones meet J. R. Miller at St. Mary. ", "They talk."],
        ["There are fruits, e.g. apples, i.e. food, etc. and more. ", "Good."],
        ["It opens at 5 p.m. and closes. ", "Later."],
        ["In the U.S. Army there are many. ", "Good."],
        ["It is No. 5 of them. ", "Good."],
        ["1. A cat. ", "It sits.\n", "2. A dog.\n\n", "* A bird\n", "- An owl"],
        ["Title\n\t", "text that follows. ", "More"],
        ["这是一只猫。", "它坐着！", "是吗？", "是。"],  # noqa: RUF001
        ["他说：“是。”", "他走了。"],  # noqa: RUF001
        ["یہ کیا ہے؟ ", "ایک بلی"],
        ["  Space before. ", "And after. "],
        ["no capitals here. none there. really! ", "yes. ", "End."],
        [],
        [" \n "],
    ],
)
def test_a_text_is_cut_where_a_reader_pauses(sentences: list[str]) -> None:
    assert cut("".join(sentences)) == sentences


@given(TEXTS, st.lists(st.integers(0, 80), max_size=10))
@example("a. B", [2, 3])
@example("中。」a", [2, 3])
def test_joined_the_sentences_are_the_text_and_pieces_make_no_difference(text: str, cuts: list[int]) -> None:
    ends = sorted(min(at, len(text)) for at in cuts)
    pieces = [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert cut(*pieces) == cut(text) == cut(*text)
    assert "".join(cut(text)) == text


@given(st.text(max_size=400))
def test_any_text_comes_out_whole(text: str) -> None:
    assert "".join(cut(text)) == text
    assert "" not in cut(text)


@given(st.lists(st.sampled_from(["word ", "w", "Long. ", "x" * 100, " " * 200, "\n"]), max_size=60), st.integers(1, 50))
def test_a_sentence_that_goes_on_is_cut_between_words_or_else_anywhere(words: list[str], size: int) -> None:
    text = "".join(words)
    sentences = cut(text)
    assert "".join(sentences) == text
    assert max(map(len, sentences), default=0) <= LONGEST
    assert cut(*(text[begin : begin + size] for begin in range(0, len(text), size))) == sentences
    for before, after in pairwise(sentences):
        assert before[-1].isspace() or after[0].isspace() or len(before) == LONGEST


def test_a_sentence_is_there_as_soon_as_the_next_begins() -> None:
    cutter = SentenceCutter()
    assert cutter.push("Yes, there") == []
    assert cutter.push(" is a cat.") == []
    assert cutter.push(" ") == []
    assert cutter.push("It") == ["Yes, there is a cat. "]
    assert cutter.push(" sleeps.") == []
    assert cutter.finish() == ["It sleeps."]
    assert cutter.finish() == []
