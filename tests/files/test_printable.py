"""Foreign text on one line."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.files.printable import printable


@given(st.text(st.characters(exclude_categories=(), exclude_characters="\\\"'"), max_size=40))
def test_nothing_is_lost_and_nothing_steers_a_terminal(text: str) -> None:
    line = printable(text, None)
    assert line.isprintable()
    assert ast.literal_eval(f"'{line}'") == text  # Python's own reading of the escapes


@pytest.mark.parametrize(
    ("text", "line"),
    [("a" * 9, "a" * 9), ("a" * 10, "a" * 10), ("a" * 11, "aaaaaaa..."), ("\n" * 6, r"\n\n\n\..."), ("é日", "é日")],
)
def test_what_is_too_long_ends_in_dots(text: str, line: str) -> None:
    assert printable(text, 10) == line
