"""Recognised words as somebody would type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.live.ears.recognisers.wording import as_sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("is there a dog", "Is there a dog?"),
        ("what am i holding", "What am I holding?"),
        ("isn't that a cat", "Isn't that a cat?"),
        ("what's this", "What's this?"),
        ("tell me what i'm holding", "Tell me what I'm holding."),
        ("WHAT COLOR IS IT", "What color is it?"),
        ("island life in hawaii", "Island life in hawaii."),  # no word of it is "is", or "i"
        ("however it is", "However it is."),
        ("what", "What?"),
        (" two   words \n", "Two words."),
        ("Is there a dog?", "Is there a dog?"),
        ("Yes, there is.", "Yes, there is."),
        ("这是什么", "这是什么"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_words_become_a_sentence(words: str, sentence: str) -> None:
    assert as_sentence(words) == sentence


@given(st.text())
def test_a_sentence_stays_as_it_is(words: str) -> None:
    assert as_sentence(as_sentence(words)) == as_sentence(words)
