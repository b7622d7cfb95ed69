"""A JSON object read field by field: what has the wrong type, and what nobody asked for, is refused by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import invalid


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
    """The fields of one object, each asked for once by its name. null is as good as left out."""

    def __init__(self, data: Mapping[str, Any], where: str = "") -> None:
        """`where`: the object's place in the request, such as `messages[0]`."""
        self._data, self._where = data, where

    def name(self, field: str) -> str:
        return f"{self._where}.{field}" if self._where else field

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
        return None if value is None else RequestFields(value, self.name(field))

    def value(self, field: str) -> Any:
        return self._data.get(field)

    def refuse_others(self, known: Collection[str], harmless: Mapping[str, tuple[Any, ...]]) -> None:
        """ApiError for the first field that is neither `known`, nor null, nor has one of its `harmless` values."""
        for field, value in self._data.items():
            if field in known or value is None:
                continue
            # compared with their types: False equals 0
            if any(type(value) is type(each) and value == each for each in harmless.get(field, ())):
                continue
            name = printable(self.name(field))
            raise invalid(f"{name}: this server doesn't support it; leave it out", name, "unsupported_parameter")

    def _wrong(self, field: str, wanted: str) -> Exception:
        name = self.name(field)
        return invalid(f"{name}: it is {json_type(self._data[field])}; give {wanted}", name, "invalid_type")


def checked_text(text: str, name: str) -> str:
    """The text. ApiError where it holds halves of characters, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid(f"{name}: the text holds half of a surrogate pair; send whole characters", name) from None
    return text
