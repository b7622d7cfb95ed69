"""What a MathVista row has beyond a question and its options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.files.json_file import shown

MULTI_CHOICE = "multi_choice"
QUESTION_TYPES = frozenset({MULTI_CHOICE, "free_form"})


class AnswerType(StrEnum):
    """Of the right answer; choices are TEXT."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    LIST = "list"


@dataclass(frozen=True)
class MathVistaFields:
    """Read from an item's attributes."""

    is_choice: bool
    answer_type: AnswerType
    precision: int | None  # decimals of a float
    answer_option: str | None  # a choice's right letter
    task: str | None
    skills: tuple[str, ...]

    @classmethod
    def of(cls, item: Item) -> Self:
        """InputError where the row has a value that MathVista hasn't."""
        try:
            return cls.parse(item)
        except ValueError as error:
            place = item.place or item.index
            raise InputError(f"MathVista: {place}: {error}; take the file as its authors publish it") from None

    @classmethod
    def parse(cls, item: Item) -> Self:
        """ValueError, which says what is wrong, where the row has a value that MathVista hasn't."""
        fields = item.attributes
        if fields.get("question_type") not in QUESTION_TYPES:
            raise ValueError(f"question_type is {shown(fields.get('question_type'))}")
        try:
            answer_type = AnswerType(fields.get("answer_type", ""))
        except ValueError:
            raise ValueError(f"answer_type is {shown(fields.get('answer_type'))}") from None
        try:
            precision = int(float(fields["precision"])) if fields.get("precision") else None
        except (ValueError, OverflowError):
            raise ValueError(f"precision is {shown(fields['precision'])}") from None
        skills = json.loads(fields.get("skills", "[]"))
        if not isinstance(skills, list) or not all(isinstance(each, str) for each in skills):
            raise ValueError(f"skills are {shown(skills)}")
        return cls(
            is_choice=fields["question_type"] == MULTI_CHOICE,
            answer_type=answer_type,
            precision=precision,
            answer_option=fields.get("answer_option"),
            task=fields.get("task"),
            skills=tuple(skills),
        )
