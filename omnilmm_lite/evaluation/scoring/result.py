"""What a scorer gives back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.statistics import Interval, interval_of_share

# Two steps of the kit's that are left out here, for the notes.
LEFT_OUT = (
    "pictures are shown as stored, where the kit makes JPEG files of them; answers are scored as given, where the kit "
    'takes them through a spreadsheet, which loses empty ones and those like "NA"'
)


@dataclass(frozen=True)
class Verdict:
    """On one answer. `extracted` is what was read from it, None where nothing could be."""

    index: str
    extracted: str | None
    correct: bool


@dataclass(frozen=True)
class Score:
    """A figure with what it would vary by over other questions of the same kind.

    `count` is the number of questions, pictures or answers that it is taken over.
    """

    name: str
    value: float
    count: int
    interval: Interval | None = None  # None where there is nothing to tell it from


@dataclass(frozen=True)
class Result:
    """Of one benchmark. The first of `scores` is the one to quote; the others are the same answers by other rules.

    `by_question` is given where several answers, or not all of them, make what the first score counts.
    """

    benchmark: Benchmark
    profile: Profile
    scores: tuple[Score, ...]
    categories: tuple[Score, ...]
    verdicts: tuple[Verdict, ...]  # one for each prediction, in their order, by the profile's rule
    unparsed: int  # answers from which nothing could be read: they count as wrong
    notes: tuple[str, ...] = ()
    by_question: tuple[Verdict, ...] = ()

    @property
    def questions(self) -> tuple[Verdict, ...]:
        """What the first score is taken over: to be paired with another model's."""
        return self.by_question or self.verdicts


def count_unparsed(verdicts: Iterable[Verdict]) -> int:
    """Answers from which nothing could be read."""
    return sum(verdict.extracted is None for verdict in verdicts)


def percentage(name: str, hits: Sequence[bool]) -> Score:
    """The share of `hits`, in percent; 0 where there are none."""
    interval = interval_of_share(hits)
    return Score(name, 100 * sum(hits) / max(len(hits), 1), len(hits), interval and interval.scaled(100))


def percentages_by(names: Iterable[str | None], hits: Iterable[bool]) -> tuple[Score, ...]:
    """A percentage for each name, by name; entries without one count in none."""
    by_name: dict[str, list[bool]] = defaultdict(list)
    for name, hit in zip(names, hits, strict=True):
        if name is not None:
            by_name[name].append(hit)
    return tuple(percentage(name, by_name[name]) for name in sorted(by_name))
