"""Ending at stop strings, whatever pieces the text comes in."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omnilmm_lite.answer.stop_strings import StopStrings

# two letters: stops overlap the text, each other and themselves all the time
PIECES = st.lists(st.text("ab", max_size=5), max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=5), max_size=3)


def shown(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    """What is shown of each piece and at the end, and whether a stop was found."""
    stop = StopStrings(stops)
    parts = [stop.push(piece) for piece in pieces]
    return [*parts, stop.finish()], stop.found


@given(st.lists(st.text("ab", max_size=5), max_size=12), st.text("ab", min_size=1, max_size=5))
def test_one_stop_ends_the_text_as_partition_does(pieces: list[str], stop: str) -> None:
    parts, found = shown(pieces, [stop])
    before, separator, _ = "".join(pieces).partition(stop)
    assert ("".join(parts), found) == (before, bool(separator))


@given(PIECES, STOPS)
@example(["a", "abb", "b"], ["bbb", "ab"])
def test_of_several_the_one_that_is_whole_first_ends_it(pieces: list[str], stops: list[str]) -> None:
    parts, found = shown(pieces, stops)
    text = ""
    for piece in pieces:  # the first piece with which the text has a stop ends it, at the earliest there
        text += piece
        if befores := [text.split(stop, 1)[0] for stop in stops if stop in text]:
            assert ("".join(parts), found) == (min(befores, key=len), True)
            return
    assert ("".join(parts), found) == (text, False)


@given(PIECES, STOPS)
def test_no_piece_shows_a_part_of_a_stop(pieces: list[str], stops: list[str]) -> None:
    """What is shown after any piece is no longer than what every continuation would leave."""
    stop = StopStrings(stops)
    text = so_far = ""
    for piece in pieces:
        text += piece
        so_far += stop.push(piece)
        if stop.found:
            return
        for each in stops:
            for length in range(1, len(each)):
                if text.endswith(each[:length]):  # the rest of it may come
                    assert len(so_far) <= len(text) - length


@given(PIECES, STOPS)
def test_no_more_is_held_back_than_has_to_be(pieces: list[str], stops: list[str]) -> None:
    stop = StopStrings(stops)
    text = so_far = ""
    for piece in pieces:
        text += piece
        so_far += stop.push(piece)
        if stop.found:
            return
        held = text.removeprefix(so_far)
        assert not held or any(each.startswith(held) for each in stops)


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["Hello ", "wor", "ld"], [], ["Hello ", "wor", "ld", ""]),
        (["one\n", "\ntwo"], ["\n\n"], ["one", "", ""]),
        (["one\n", "two"], ["\n\n"], ["one", "\ntwo", ""]),
        (["one\n"], ["\n\n"], ["one", "\n"]),
        (["STOP"], ["STOP"], ["", ""]),
        (["aSTO", "P", "b"], ["STOP"], ["a", "", "", ""]),
        (["naïve 日", "本語"], ["本"], ["naïve 日", "", ""]),
    ],
)
def test_by_hand(pieces: list[str], stops: list[str], expected: list[str]) -> None:
    assert shown(pieces, stops)[0] == expected
