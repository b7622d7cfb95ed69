"""What a MathVista row has beyond a question and its options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.item import Item

MULTI_CHOICE = "multi_choice"


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
        """InputError where the row's answer_type or precision is none that MathVista has."""
        fields = item.attributes
        try:
            answer_type = AnswerType(fields.get("answer_type", ""))
            precision = int(float(fields["precision"])) if fields.get("precision") else None
        except (ValueError, OverflowError):
            raise InputError(
                f"MathVista: {item.place or item.index} has answer_type {fields.get('answer_type')!r} and precision "
                f"{fields.get('precision')!r}; take the file as its authors publish it"
            ) from None
        return cls(
            is_choice=fields.get("question_type") == MULTI_CHOICE,
            answer_type=answer_type,
            precision=precision,
            answer_option=fields.get("answer_option"),
            task=fields.get("task"),
            skills=tuple(json.loads(fields.get("skills", "[]"))),
        )
