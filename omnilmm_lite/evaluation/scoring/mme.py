"""MME: two yes-or-no questions a picture, 14 tasks of 200 points each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.scoring.result import LEFT_OUT, Result, Score, Verdict, count_unparsed
from omnilmm_lite.evaluation.statistics import interval_of_mean, interval_of_sum_of_means

PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"
)  # fmt: skip
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")

SIGNS = ';/[]"{}()=+\\_-><@`,?!'
BETWEEN_DIGITS = re.compile(r"\d,\d")
FULL_STOP = re.compile(r"\.(?!\d)")
STOPS_REMOVED = 32  # the kit passes a flag of this value where the number of replacements belongs
POINTS = (0.0, 200.0)  # of a picture
OFFICIAL_PREFIX = 4  # characters


def extract_by_kit(answer: str) -> str | None:
    """Yes or No where exactly one of the two is a word of the answer, else None.

    A sign becomes a blank, or disappears where it touches a blank anywhere or the answer has a comma between digits.
    Signs that aren't in SIGNS stay with their word, so "**Yes**" and "Yes:" are neither.
    """
    lowered = words = answer.lower()
    all_disappear = BETWEEN_DIGITS.search(lowered) is not None
    for sign in SIGNS:
        touches = f"{sign} " in lowered or f" {sign}" in lowered
        words = words.replace(sign, "" if touches or all_disappear else " ")
    found = FULL_STOP.sub("", words, count=STOPS_REMOVED).split()
    return _one_of("yes" in found, "no" in found)


def extract_officially(answer: str) -> str | None:
    """Yes or No by the first four characters, of which "yes" goes before "no", so "None" is a no; else None."""
    start = answer.lower()[:OFFICIAL_PREFIX]
    return _one_of("yes" in start, "yes" not in start and "no" in start)


def score(predictions: Sequence[Prediction], profile: Profile) -> Result:
    """Sums over the tasks that are there; tasks that are missing are named in the notes."""
    rules: dict[Profile, Callable[[str], str | None]] = {
        Profile.VEK2402: extract_by_kit,
        Profile.OFFICIAL: extract_officially,
    }
    verdicts = {each: [_verdict(prediction, rules[each]) for prediction in predictions] for each in Profile}
    tasks = {each: _tasks(predictions, verdicts[each]) for each in Profile}
    other = next(each for each in Profile if each != profile)
    scores = [*_sums(tasks[profile], ""), *_sums(tasks[other], f", rule of {other}")]
    return Result(
        Benchmark.MME,
        profile,
        tuple(scores),
        tuple(task.score() for task in tasks[profile].values()),
        tuple(verdicts[profile]),
        count_unparsed(verdicts[profile]),
        (*_notes(tasks[profile]), LEFT_OUT),
    )


@dataclass(frozen=True)
class _Task:
    name: str
    pictures: tuple[tuple[bool, ...], ...]  # of each picture, which questions were answered right

    @property
    def points(self) -> tuple[float, ...]:
        """Of each picture; where all have two questions, the mean of these is the task's score."""
        return tuple(100 * sum(rights) / len(rights) + 100 * _both(rights) for rights in self.pictures)

    def score(self) -> Score:
        """100 x right / questions + 100 x pictures with both right / pictures, 0 to 200."""
        questions = [right for rights in self.pictures for right in rights]
        value = 100 * sum(questions) / len(questions) + 100 * sum(map(_both, self.pictures)) / len(self.pictures)
        return Score(self.name, value, len(questions), interval_of_mean(self.points, POINTS))


def _both(rights: Sequence[bool]) -> bool:
    return len(rights) > 1 and rights[0] and rights[1]


def _one_of(yes: bool, no: bool) -> str | None:
    if yes == no:
        return None
    return "Yes" if yes else "No"


def _verdict(prediction: Prediction, extract: Callable[[str], str | None]) -> Verdict:
    extracted = extract(prediction.text)
    return Verdict(prediction.item.index, extracted, extracted is not None and extracted == prediction.item.answer)


def _tasks(predictions: Iterable[Prediction], verdicts: Iterable[Verdict]) -> dict[str, _Task]:
    """By name, in the order of the paper. Questions belong together by picture, wherever their rows stand."""
    pictures: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for prediction, verdict in zip(predictions, verdicts, strict=True):
        item = prediction.item
        pictures[item.category or ""][item.group or item.index].append(verdict.correct)
    order = [*PERCEPTION, *COGNITION]
    names = sorted(pictures, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: _Task(name, tuple(map(tuple, pictures[name].values()))) for name in names}


def _sums(tasks: dict[str, _Task], rule: str) -> Iterable[Score]:
    parts = (("MME", [*PERCEPTION, *COGNITION]), ("perception", PERCEPTION), ("cognition", COGNITION))
    for name, wanted in parts:
        present = [tasks[each] for each in wanted if each in tasks]
        scores = [task.score() for task in present]
        value = sum(each.value for each in scores)
        interval = interval_of_sum_of_means([task.points for task in present], POINTS)
        yield Score(name + rule, value, sum(each.count for each in scores), interval)


def _notes(tasks: dict[str, _Task]) -> Iterable[str]:
    wanted = [*PERCEPTION, *COGNITION]
    missing = [name for name in wanted if name not in tasks]
    if missing:
        yield f"{len(missing)} of 14 tasks are missing, so the sums can't be compared: {', '.join(missing)}"
    if unknown := [name for name in tasks if name not in wanted]:
        yield f"not in any sum, as MME has no such task: {', '.join(unknown)}"
    odd = sum(len(rights) != 2 for task in tasks.values() for rights in task.pictures)
    if odd:
        yield f"{counted(odd, 'picture lacks', 'pictures lack')} its two questions"
