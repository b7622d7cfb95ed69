"""Drafts against a search through the whole text, and what they may cost at most."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.answer.drafts import CREDIT, EXTRA_COST, LONGEST, NGRAM, PAUSE, Drafts, Lookup

BREAK = 0
TEXT = st.lists(st.integers(BREAK, 3), max_size=60) | st.lists(st.integers(BREAK, 2), min_size=20, max_size=60)


def search(text: Sequence[int], limit: int) -> list[int]:
    """What `Lookup.draft` gives, by looking through everything."""
    tail = list(text[-NGRAM:])
    if len(text) < NGRAM or BREAK in tail:
        return []
    for end in range(len(text) - 1, NGRAM - 1, -1):
        if list(text[end - NGRAM : end]) == tail and text[end] != BREAK:
            grown = list(text)
            while len(grown) < len(text) + limit and grown[end + len(grown) - len(text)] != BREAK:
                grown.append(grown[end + len(grown) - len(text)])
            return grown[len(text) :]
    return []


@given(text=TEXT, limit=st.integers(0, 5), pieces=st.integers(1, 7))
def test_a_draft_is_what_a_search_finds(text: list[int], limit: int, pieces: int) -> None:
    lookup = Lookup((BREAK,))
    for start in range(0, len(text), pieces):
        lookup.extend(text[start : start + pieces])
        assert lookup.draft(limit) == search(text[: start + pieces], limit)


def test_the_last_occurrence_counts() -> None:
    lookup = Lookup((BREAK,))
    lookup.extend([1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 8, 2, 3, 9, 1, 2, 3])
    assert lookup.draft(3) == [6, 7, 8]
    lookup.extend([2, 3])
    assert lookup.draft(3) == []


def test_a_run_that_repeats_itself_goes_on() -> None:
    lookup = Lookup((BREAK,))
    lookup.extend([5, 5, 5, 5])
    assert lookup.draft(3) == [5, 5, 5]
    lookup.extend([6, 7, 6, 7, 6])
    assert lookup.draft(3) == [7, 6, 7]


def test_pictures_are_no_text() -> None:
    lookup = Lookup((BREAK,))
    lookup.extend([4, *[BREAK] * 20])
    assert lookup.draft(3) == []
    lookup.extend([1, 2, 3, 4, BREAK, 1, 2, 3])
    assert lookup.draft(3) == [4]


# ---- what they cost ----


def repeating(drafts: Drafts) -> Drafts:
    drafts.extend([1] * 10)
    return drafts


def test_wrong_drafts_stop_for_a_while_and_are_tried_again() -> None:
    drafts = repeating(Drafts((BREAK,)))
    given = [len(drafts.propose(LONGEST)) for _ in range(3 * PAUSE)]
    wrong = given.index(0)
    assert 2 <= wrong <= 3
    assert given[: wrong + PAUSE + 2] == [LONGEST] * wrong + [0] * PAUSE + [LONGEST, 0]


def test_right_drafts_never_stop() -> None:
    drafts = repeating(Drafts((BREAK,)))
    for _ in range(5 * PAUSE):
        assert len(drafts.propose(LONGEST)) == LONGEST
        drafts.accept()


def test_a_limit_keeps_drafts_short() -> None:
    drafts = repeating(Drafts((BREAK,)))
    assert [len(drafts.propose(limit)) for limit in (0, 1, 2, 100)] == [0, 1, 2, LONGEST]


@given(right=st.lists(st.integers(0, LONGEST), min_size=1, max_size=300))
def test_the_loss_is_bounded_whatever_is_right(right: list[int]) -> None:
    drafts = repeating(Drafts((BREAK,)))
    lost = 0.0
    for count in right:
        draft = drafts.propose(LONGEST)
        lost += EXTRA_COST[len(draft)]
        for _ in draft[:count]:
            drafts.accept()
            lost -= 1
        dearest = EXTRA_COST[LONGEST]
        assert lost <= CREDIT + dearest + dearest * len(right) / (PAUSE + 1) + 1e-9


def test_right_drafts_buy_no_more_wrong_ones_than_there_were_at_first() -> None:
    drafts = repeating(Drafts((BREAK,)))
    for _ in range(100):
        for _ in drafts.propose(LONGEST):
            drafts.accept()
    given = [len(drafts.propose(LONGEST)) for _ in range(PAUSE)]
    assert 2 <= given.index(0) <= 3
