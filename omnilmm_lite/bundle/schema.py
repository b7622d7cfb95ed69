"""JSON to frozen dataclasses, every field's presence and type checked: a manifest may come from anywhere."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from enum import Enum
from typing import Any, TypeVar

from omnilmm_lite.errors import InputError

T = TypeVar("T")

MAX_INT = (1 << 64) - 1  # the largest seed; sizes are held against what the files say
SCALARS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


class SchemaError(InputError):
    """A value is missing, unknown or of the wrong type; the text begins with the field's path."""


def build(cls: type[T], data: object, where: str = "") -> T:
    """`data`, as json.loads gives it, as the dataclass `cls`. SchemaError names the first field that doesn't fit.

    Fields may be str, bool, int, float, Any, an Enum (by value), another dataclass, tuple[X, ...], dict[str, X] or
    X | None. Every field must be there, with a default or without: what is written is always complete.
    """
    if not isinstance(data, dict):
        raise _wrong(where, "an object", data)
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]  # cls is a dataclass
    if missing := [name for name in names if name not in data]:
        raise SchemaError(f"{_join(where, missing[0])}: the field is missing")
    if unknown := [name for name in data if name not in names]:
        raise SchemaError(f"{_join(where, '')}the field {reprlib.repr(unknown[0])} is unknown")
    return cls(**{name: _value(hints[name], data[name], _join(where, name)) for name in names})


def _value(kind: Any, data: object, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin is types.UnionType:
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if data is None else _value(inner, data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise _wrong(where, "a list", data)
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise _wrong(where, "an object", data)
        return {key: _value(arguments[1], item, _join(where, key)) for key, item in data.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return build(kind, data, where)
    return _scalar(kind, data, where)


def _scalar(kind: Any, data: object, where: str) -> Any:
    if issubclass(kind, Enum):
        choices = {member.value: member for member in kind}
        if not isinstance(data, str) or data not in choices:
            raise _wrong(where, f"one of {', '.join(choices)}", data)
        return choices[data]
    accepted = (int, float) if kind is float else kind
    if isinstance(data, bool) is not (kind is bool) or not isinstance(data, accepted):
        raise _wrong(where, SCALARS[kind], data)
    if isinstance(data, int) and not -MAX_INT <= data <= MAX_INT:
        raise _wrong(where, "a number of at most 64 bits", data)
    if isinstance(data, str) and not _is_text(data):
        raise _wrong(where, "text without lone surrogates and zero characters", data)
    return data


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where and name else name or (where and f"{where}: ")


def _wrong(where: str, expected: str, found: object) -> SchemaError:
    return SchemaError(f"{where or 'the whole'}: expected {expected}, found {reprlib.repr(found)}")
