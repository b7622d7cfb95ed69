"""What a session remembers: the last descriptions, and a summary of what was before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_DESCRIPTION = 500  # characters of each that are kept; of the others likewise
LONGEST_SUMMARY = 1000
LONGEST_ROUND = 1000  # of a question, and of an answer
MOST_ROUNDS = 4  # that no summary has yet


@dataclass(frozen=True)
class Description:
    time_s: float  # of the session, when its frame was captured
    text: str


@dataclass(frozen=True)
class Round:
    """A question and its answer."""

    question: str
    answer: str


class Memory:
    """Bounded, however long the session is."""

    def __init__(self, window: int) -> None:
        """`window`: descriptions that are kept."""
        self._window: deque[Description] = deque(maxlen=window)
        self._rounds: deque[Round] = deque(maxlen=MOST_ROUNDS)
        self._summary = ""

    @property
    def window(self) -> Sequence[Description]:
        """Oldest first."""
        return tuple(self._window)

    @property
    def summary(self) -> str:
        """ "" before the first."""
        return self._summary

    @property
    def rounds(self) -> Sequence[Round]:
        """Those that the summary doesn't hold yet, oldest first."""
        return tuple(self._rounds)

    def saw(self, description: Description) -> None:
        """The oldest gives way."""
        self._window.append(Description(description.time_s, shortened(description.text, LONGEST_DESCRIPTION)))

    def answered(self, question: str, answer: str) -> None:
        self._rounds.append(Round(shortened(question, LONGEST_ROUND), shortened(answer, LONGEST_ROUND)))

    def summarised(self, summary: str, rounds: Sequence[Round]) -> None:
        """`summary` holds all before, and `rounds`."""
        lines = [line.strip() for line in summary[:LONGEST_SUMMARY].splitlines()]
        self._summary = "\n".join(line for line in lines if line)
        self._rounds = deque((each for each in self._rounds if each not in rounds), maxlen=MOST_ROUNDS)


def shortened(text: str, most: int) -> str:
    """`text` in one paragraph, cut at `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3].rstrip()}..."
