"""Answers that are to be lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.caption.tags import MAX_LENGTH, MAX_TAGS, MAX_WORDS, clean_tags


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        ("Cat, red sofa, indoors.", ["cat", "red sofa", "indoors"]),
        ("cat, Cat , CAT, dog", ["cat", "dog"]),
        ("- cat\n- red sofa\n* window", ["cat", "red sofa", "window"]),
        ("1. cat\n2) dog\n3. two birds", ["cat", "dog", "two birds"]),
        ("Here are some tags: cat; dog | 'bird'", ["cat", "dog", "bird"]),
        ('"golden_hour", (portrait)', ["golden hour", "portrait"]),
        ("猫、犬\uff0c鳥", ["猫", "犬", "鳥"]),
        ("This is a cat.", []),
        ("There is a cat on the sofa, indoors", ["indoors"]),
        ("cat, a very long thing with many words in it, dog", ["cat", "dog"]),
        ("cat, " + "x" * 41, ["cat"]),
        ("10:30, cat", ["10:30", "cat"]),
        (" ,, .\n", []),
        ("", []),
    ],
)
def test_a_list_is_cleaned_and_a_sentence_is_none(answer: str, tags: list[str]) -> None:
    assert list(clean_tags(answer)) == tags


@given(st.text(max_size=400))
def test_any_answer_gives_few_short_tags_that_stay_as_they_are(answer: str) -> None:
    tags = clean_tags(answer)
    assert len(tags) == len({*tags}) <= MAX_TAGS
    assert all(0 < len(tag) <= MAX_LENGTH and len(tag.split()) <= MAX_WORDS and "," not in tag for tag in tags)


def test_no_more_than_so_many() -> None:
    assert len(clean_tags(",".join(f"tag {number}" for number in range(99)))) == MAX_TAGS
