"""What is understood of a manifest's free-form parts: they may come from anywhere, and anything may be in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float


@dataclass(frozen=True)
class Projection:
    """A linear layer as the quantization's report has it; errors are relative."""

    name: str
    bits: int
    group_size: int
    error_to_rounding: Number
    error_to_output: Number


@dataclass(frozen=True)
class LargestNumber:
    """A part's largest number in fp16, as calibration saw it."""

    part: str
    site: str
    largest: Number
    divisor: Number  # what the graph divides it by
    headroom: Number  # how many times it then fits into fp16's range


def entries(value: object) -> dict[str, Any]:
    """A JSON object's entries by name; an empty dict where `value` is anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A JSON array's items in order; an empty list where `value` is anything else."""
    return value if isinstance(value, list) else []


def numbers(value: object, *names: str) -> tuple[Number, ...] | None:
    """An object's numbers of these names, in this order; None where one is missing or is no finite number."""
    found = tuple(each for each in map(entries(value).get, names) if _is_number(each))
    return found if len(found) == len(names) else None


def scalars(value: object) -> dict[str, Scalar]:
    """An object's texts, truth values and finite numbers by name, without its other entries."""
    return {name: each for name, each in entries(value).items() if isinstance(each, str | bool) or _is_number(each)}


def projections(value: object) -> Iterator[Projection]:
    """The linear layers in a list of objects, without those of which a field is missing or of the wrong type."""
    for each in items(value):
        name = entries(each).get("name")
        layout = numbers(each, "bits", "group_size")
        errors = numbers(each, "error_to_rounding", "error_to_output")
        if isinstance(name, str) and layout and errors and all(isinstance(size, int) for size in layout):
            yield Projection(name, int(layout[0]), int(layout[1]), *errors)


def largest_numbers(value: object) -> Iterator[LargestNumber]:
    """Those in an object by part, without what lacks a field or has one of the wrong type."""
    for part, each in entries(value).items():
        site, found = entries(each).get("site"), numbers(each, "largest", "divisor", "headroom")
        if isinstance(site, str) and found:
            yield LargestNumber(part, site, *found)


def _is_number(value: object) -> TypeGuard[Number]:
    """Not NaN and none of the infinite ones, nor a whole number that no float can hold: JSON may have any of them."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
