"""A JSON object read field by field: what has the wrong type is refused by name, and so is what would change the answer
and can't be honoured. What nobody knows is passed over with a warning, or refused, too, where the server is strict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import ApiError, invalid

MOST_WARNINGS = 8  # are said one by one


@dataclass(frozen=True)
class FieldTable:
    """The fields of one kind of object. `honoured`: read by somebody. `harmless`: taken, as they change no answer, or
    only what is the same here anyway. `only`: refused but for these values, with which they ask for nothing. `nearly`:
    passed over, with a word about what is done in their place."""

    honoured: frozenset[str]
    harmless: frozenset[str] = frozenset()
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    nearly: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Warnings:
    """What of one request was passed over, or understood in its own way. `strict`: nothing is passed over."""

    strict: bool = False
    _said: list[str] = field(default_factory=list)
    _more: int = 0

    def add(self, text: str) -> None:
        if text in self._said:
            return
        if len(self._said) < MOST_WARNINGS:
            self._said.append(text)
        else:
            self._more += 1

    def said(self) -> tuple[str, ...]:
        return (*self._said, f"and {self._more} more") if self._more else tuple(self._said)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body; ApiError where it is none."""
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # of a text that is no UTF-8, too
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise invalid(f"the body is not JSON: {reason}", code="invalid_json") from None
    if not isinstance(data, dict):
        raise invalid(f"the body is {json_type(data)}; give a JSON object")
    return data


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def json_type(value: object) -> str:
    """What a JSON value is, for people."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")


class RequestFields:
    """The fields of one object, each asked for by its name. null is as good as left out."""

    def __init__(self, data: Mapping[str, Any], where: str = "", warnings: Warnings | None = None) -> None:
        """`where`: the object's place in the request, such as `messages[0]`."""
        self._data, self._where = data, where
        self.warnings = Warnings() if warnings is None else warnings

    def name(self, field: str = "") -> str:
        """A field's whole name; without one, the object's own place."""
        return f"{self._where}.{field}" if self._where and field else self._where or field

    def string(self, field: str) -> str | None:
        value = self._data.get(field)
        if value is not None and not isinstance(value, str):
            raise self._wrong(field, "a string")
        return None if value is None else checked_text(value, self.name(field))

    def boolean(self, field: str) -> bool:
        value = self._data.get(field)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(field, "true or false")
        return bool(value)

    def integer(self, field: str) -> int | None:
        value = self._data.get(field)
        if isinstance(value, float) and value.is_integer():
            return int(value)  # programs whose language has one kind of number
        if value is not None and type(value) is not int:
            raise self._wrong(field, "an integer")
        return value

    def number(self, field: str) -> float | None:
        value = self._data.get(field)
        if value is not None and type(value) not in (int, float):
            raise self._wrong(field, "a number")
        try:
            return None if value is None else float(value)
        except OverflowError:
            raise invalid(f"{self.name(field)}: the number is too large", self.name(field)) from None

    def object(self, field: str) -> RequestFields | None:
        value = self._data.get(field)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(field, "an object")
        return None if value is None else RequestFields(value, self.name(field), self.warnings)

    def objects(self, field: str) -> list[RequestFields]:
        """Of an array; none where it is left out."""
        value = self._data.get(field)
        if value is not None and not isinstance(value, list):
            raise self._wrong(field, "an array")
        found = []
        for index, each in enumerate(value or []):
            name = f"{self.name(field)}[{index}]"
            if not isinstance(each, dict):
                raise invalid(f"{name}: it is {json_type(each)}; give an object", name, "invalid_type")
            found.append(RequestFields(each, name, self.warnings))
        return found

    def required(self, field: str) -> str:
        """A string that isn't empty."""
        if not (value := self.string(field)):
            raise self.missing(field)
        return value

    def missing(self, field: str) -> ApiError:
        """The error for who left the field out."""
        return invalid(f"{self.name(field)}: it is missing", self.name(field), "missing_required_parameter")

    def value(self, field: str) -> Any:
        return self._data.get(field)

    def check(self, table: FieldTable) -> None:
        """ApiError for the first field that can't be passed over; a warning for each that is."""
        for key, value in self._data.items():
            if value is None or key in table.honoured or key in table.harmless:
                continue
            name = printable(self.name(key))
            if key in table.nearly:
                self.warnings.add(f"{name}: passed over; {table.nearly[key]}")
            elif key not in table.only:
                if self.warnings.strict:
                    raise invalid(f"{name}: this server doesn't know it; leave it out, or start without --strict", name,
                                  "unknown_parameter")  # fmt: skip
                self.warnings.add(f"{name}: this server doesn't know it, and has passed it over")
            elif not any(_same(value, each) for each in table.only[key]):
                raise invalid(f"{name}: this server doesn't support it; leave it out", name, "unsupported_parameter")

    def _wrong(self, field: str, wanted: str) -> ApiError:
        name = self.name(field)
        return invalid(f"{name}: it is {json_type(self._data[field])}; give {wanted}", name, "invalid_type")


def _same(value: Any, other: Any) -> bool:
    """Equal, and of the same type unless both are numbers: False equals 0, and 1.0 is as good as 1."""
    numbers = (int, float)
    return bool(value == other) and (type(value) is type(other) or (type(value) in numbers and type(other) in numbers))


def checked_text(text: str, name: str) -> str:
    """The text. ApiError where it holds halves of characters, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid(f"{name}: the text holds half of a surrogate pair; send whole characters", name) from None
    return text
