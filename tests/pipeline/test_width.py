"""How many answers at once are chosen, by steps' seconds worked out on paper."""

from __future__ import annotations

import pytest

from omnilmm_lite.pipeline.width import STEPS, Width


def chosen(slots: int, seconds: dict[int, float]) -> tuple[int, list[int]]:
    """The number that it stays with, and those that it tried on the way."""
    width = Width(slots, is_measured=True)
    tried = [width.limit]
    for _ in range(8 * STEPS):
        width.note(width.limit, seconds[width.limit])
        if width.limit != tried[-1]:
            tried.append(width.limit)
    return width.limit, tried


@pytest.mark.parametrize(
    ("slots", "seconds", "expected", "tried"),
    [
        (8, {1: 1.0, 2: 1.0, 4: 1.6, 8: 2.8}, 8, [1, 2, 4, 8]),  # as measured with VNNI: 1, 2, 2.5, 2.86 a second
        (8, {1: 1.0, 2: 1.0, 4: 2.0, 8: 4.0}, 2, [1, 2, 4, 8, 2]),  # no more than two at once give
        (8, {1: 1.0, 2: 1.0, 4: 3.0}, 2, [1, 2, 4, 2]),  # four are slower: eight aren't tried
        (6, {1: 1.0, 2: 1.1, 4: 1.3, 6: 1.5}, 6, [1, 2, 4, 6]),
        (3, {1: 1.0, 2: 1.2, 3: 1.4}, 3, [1, 2, 3]),
        (2, {1: 1.0, 2: 2.1}, 1, [1, 2, 1]),
        (1, {1: 1.0}, 1, [1]),
    ],
)
def test_the_fewest_that_give_nearly_the_most(
    slots: int, seconds: dict[int, float], expected: int, tried: list[int]
) -> None:
    assert chosen(slots, seconds) == (expected, tried)


def test_single_slow_steps_and_other_numbers_decide_nothing() -> None:
    width = Width(2, is_measured=True)
    for number in range(STEPS):
        width.note(2, 9.0)  # two are not on trial yet
        width.note(1, 50.0 if number < 3 else 1.0)
    assert width.limit == 2
    for number in range(STEPS):
        width.note(2, 50.0 if number < 3 else 1.0)
    assert width.limit == 2 and width.tokens_per_s == {1: 1.0, 2: 2.0}
    assert width.told == "answers at once: 2 (tokens a second by their number: 1: 1, 2: 2)"


def test_what_was_asked_for_stays() -> None:
    width = Width(4, is_measured=False)
    for _ in range(5 * STEPS):
        width.note(4, 99.0)
    assert width.limit == 4 and width.told == ""


def test_where_there_is_one_slot_nothing_was_chosen() -> None:
    width = Width(1, is_measured=True)
    for _ in range(2 * STEPS):
        width.note(1, 1.0)
    assert width.limit == 1 and width.told == ""
