"""JSON made wrong as JSON: other types, huge numbers, deep nesting, NaN, doubled keys, halves of characters."""

from __future__ import annotations

import json
from random import Random
from typing import Any


class Members(list[tuple[str, Any]]):
    """An object's members, of which two may have one key."""


class Written(str):
    """A value as it stands in the file."""

    __slots__ = ()


STRINGS = (
    "", "x", "0", "\ud800", "\udfff\ud800", "a\0b", "two\nlines", "\x1b[31mred\x1b[0m", "\u202eleft", "\ufeff",
    "../../etc/passwd", "/etc/passwd", "C:\\x", "~nobody-here", "x" * 300, "%s%n{}{0}", "\U0010ffff", "<s>", "</s>",
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1", "2", "-0.0", "0.5", "1e-320", "1e308", "1e400", "-1e400", "NaN", "Infinity", "-Infinity",
    "255", "65536", "2147483648", "-2147483649", "4294967296", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "1" + "0" * 400, "-1" + "0" * 400, "9" * 5000,
)  # fmt: skip
WORDS = ("null", "true", "false", "[]", "{}", "[[]]", '[{"a": []}]', "undefined", "")
DEPTHS = (8, 300, 3000, 100_000)


def mutated_json(dice: Random, data: bytes) -> bytes:
    """Bytes that are no JSON come back as they are."""
    try:
        tree = [json.loads(data, object_pairs_hook=Members)]
    except (ValueError, RecursionError):
        return data
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            break
        container, place = dice.choice(places)
        _change(dice, container, place, places)
    return _written(tree)[1:-1].encode("utf-8", "surrogatepass")


def _places(container: Any) -> Any:
    """Every container with the place of each value in it."""
    for place in range(len(container)):
        yield container, place
        value = _get(container, place)
        if isinstance(value, list):
            yield from _places(value)


def _get(container: Any, place: int) -> Any:
    return container[place][1] if isinstance(container, Members) else container[place]


def _set(container: Any, place: int, value: Any) -> None:
    container[place] = (container[place][0], value) if isinstance(container, Members) else value


def _change(dice: Random, container: Any, place: int, places: list[Any]) -> None:
    if place >= len(container):  # an earlier change has taken it
        return
    value = _get(container, place)
    match dice.randrange(10):
        case 0:
            del container[place]
        case 1 if isinstance(container, Members):  # a second value for its key
            container.append((container[place][0], _odd(dice)))
        case 2 if isinstance(container, Members):
            container[place] = (dice.choice(STRINGS), value)
        case 3:  # one from elsewhere, but none that holds this one
            there, other = dice.choice(places)
            if other < len(there) and not isinstance(found := _get(there, other), list):
                _set(container, place, found)
        case 4 if not isinstance(container, Members) and not isinstance(value, list):
            container[place:place] = [value] * dice.choice((1, 3, 1000))
        case 5 if isinstance(value, str):
            at = dice.randrange(len(value) + 1)
            _set(container, place, value[:at] + dice.choice(STRINGS) + value[at:])
        case 6 if isinstance(value, int | float):
            _set(container, place, dice.choice((value + 1, value - 1, -value, value // 2, str(value))))
        case _:
            _set(container, place, _odd(dice))


def _odd(dice: Random) -> Any:
    match dice.randrange(10):
        case 0 | 1 | 2:
            return dice.choice(STRINGS)
        case 3 | 4 | 5 | 6:
            return Written(dice.choice(NUMBERS))
        case 7 | 8:
            return Written(dice.choice(WORDS))
    if dice.random() < 0.05:
        return "long" * 250_000
    depth = dice.choice(DEPTHS)
    return Written("[" * depth + "]" * depth)


def _written(value: Any) -> str:
    if isinstance(value, Members):
        return "{" + ", ".join(f"{json.dumps(name)}: {_written(item)}" for name, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return value if isinstance(value, Written) else json.dumps(value)
