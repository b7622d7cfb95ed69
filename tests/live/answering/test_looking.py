"""Which questions are about now."""

from __future__ import annotations

import pytest

from omnilmm_lite.live.answering.looking import asks_about_now


@pytest.mark.parametrize(
    "question",
    [
        "What am I holding?", "What is this?", "Is there a cat?", "How many people are here?", "What colour is it?",
        "What do you see?", "Describe the room.", "Who is there now?", "What is he doing at the moment?",
        "Has the kettle boiled by now?",
    ],
)  # fmt: skip
def test_now(question: str) -> None:
    assert asks_about_now(question)


@pytest.mark.parametrize(
    "question",
    [
        "What was there before?", "What did I do?", "Have you seen a cat?", "What happened?", "Who came in first?",
        "How long have I been here?", "Summarise what you saw.", "When did the dog leave?", "What has changed?",
        "How often was the door opened?",
    ],
)  # fmt: skip
def test_before(question: str) -> None:
    assert not asks_about_now(question)
