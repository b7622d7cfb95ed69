"""What is remembered is bounded."""

from __future__ import annotations

from omnilmm_lite.live.answering.memory import (
    LONGEST_DESCRIPTION,
    LONGEST_SUMMARY,
    MOST_ROUNDS,
    Description,
    Memory,
    Round,
    shortened,
)
from omnilmm_lite.live.answering.prompts import NOTHING_SEEN, answer_messages


def test_the_window_rolls() -> None:
    memory = Memory(2)
    for second in range(5):
        memory.saw(Description(second, f"scene  {second}\n"))
    assert memory.window == (Description(3, "scene 3"), Description(4, "scene 4"))


def test_everything_is_bounded() -> None:
    memory = Memory(1)
    memory.saw(Description(0, "x" * 10_000))
    for number in range(100):
        memory.answered(f"question {number}", "y" * 10_000)
    memory.summarised("z" * 10_000, ())
    assert len(memory.window[0].text) == LONGEST_DESCRIPTION
    assert [each.question for each in memory.rounds] == [f"question {number}" for number in range(96, 100)]
    assert len(memory.rounds) == MOST_ROUNDS
    assert len(memory.summary) == LONGEST_SUMMARY


def test_a_summary_takes_the_rounds_that_it_was_made_of() -> None:
    memory = Memory(1)
    memory.answered("one", "1")
    told = memory.rounds
    memory.answered("two", "2")
    memory.summarised("Event: a\n\n Last Round: b \n", told)
    assert memory.summary == "Event: a\nLast Round: b"
    assert memory.rounds == (Round("two", "2"),)


def test_a_cut_is_shown() -> None:
    assert (shortened("abcdef", 6), shortened("abc  defg", 7)) == ("abcdef", "abc...")


def test_seconds_are_counted_back_from_now() -> None:
    window = [Description(1.4, "a cat"), Description(60, "a dog")]
    text = answer_messages("", window, "Where is it?", 61.0)[1].content
    assert text == "Seen, oldest first:\n- 60 s ago: a cat\n- 1 s ago: a dog\n\nQuestion: Where is it?"
    assert NOTHING_SEEN in answer_messages("", [], "Where is it?", 61.0)[1].content
