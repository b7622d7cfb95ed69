"""MathVista's own rules: quick extraction, then the nearest value of the wanted kind."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.mathvista_fields import AnswerType, MathVistaFields
from omnilmm_lite.evaluation.scoring.result import Verdict

QUOTED = re.compile(r'The answer is "(.*)"\.')
BRACKETED_LETTER = re.compile(r"\(([a-zA-Z])\)")


def extract(answer: str, item: Item) -> str | None:
    """What the rules alone take from an answer: an option's text, a number, or a quoted answer; "" from an empty one.

    None where a judge would be asked.
    """
    fields = MathVistaFields.of(item)
    if not answer:
        return ""
    if fields.is_choice and answer in item.options.values():
        return answer
    with contextlib.suppress(ValueError):
        if fields.answer_type is AnswerType.INTEGER:
            return str(int(answer))
        if fields.answer_type is AnswerType.FLOAT:
            return str(float(answer))
    quoted = QUOTED.search(answer)
    return quoted[1] if quoted else None


def normalize(extraction: str, item: Item, *, empty_counts: bool) -> str | None:
    """The extraction as a value of the wanted kind: an option's text, an integer, a rounded float, or itself.

    `empty_counts` True takes an empty extraction for the nearest option too, which is the shortest.
    """
    fields = MathVistaFields.of(item)
    if fields.is_choice:
        return _choice(extraction.strip(), list(item.options.values()), empty_counts)
    with contextlib.suppress(ValueError, OverflowError):  # OverflowError: infinity as an integer
        if fields.answer_type is AnswerType.INTEGER:
            return str(int(float(extraction)))
        if fields.answer_type is AnswerType.FLOAT:
            return None if fields.precision is None else str(round(float(extraction), fields.precision))
        return extraction
    return None


def verdict(prediction: Prediction, extraction: str | None, *, empty_counts: bool) -> Verdict:
    """`extraction` is a judge's reply, used where the rules don't decide."""
    item = prediction.item
    by_rules = extract(prediction.text, item)
    found = by_rules if by_rules is not None else extraction or ""
    value = normalize(found, item, empty_counts=empty_counts)
    return Verdict(item.index, value if found.strip() else None, value is not None and value == item.answer)


def edit_distance(first: str, second: str) -> int:
    """Levenshtein's: the fewest insertions, deletions and replacements of single characters."""
    row = list(range(len(second) + 1))
    for number, char in enumerate(first, start=1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(second, start=1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (char != other)),
            )
    return row[-1]


def _choice(extraction: str, options: Sequence[str], empty_counts: bool) -> str | None:
    if not options or not (extraction or empty_counts):
        return None
    letters = BRACKETED_LETTER.findall(extraction)
    if letters:
        extraction = letters[0].upper()
    by_letter = {chr(ord("A") + number): option for number, option in enumerate(options)}
    if extraction in by_letter:
        return by_letter[extraction]
    return min(options, key=lambda option: edit_distance(extraction, option))
