"""Schemas whose objects have the properties that they name, and no others.

JSON Schema lets an object have any more, and a model that is held to a schema by a grammar alone may go on making some
up until its answer is full. Programs that send what their classes look like mean those fields. An answer that keeps to
the closed schema keeps to the one that was sent (with `oneOf`, where its branches exclude one another as sent).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MAPS = ("properties", "$defs", "definitions")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
ONES = ("items", "additionalProperties", "contains")
# What else describes the same object: closed on its own, each would forbid what the other one names.
BESIDE = ("anyOf", "oneOf", "allOf", "$ref")
SUBTLE = ("not", "if", "patternProperties", "dependentSchemas", "unevaluatedProperties", "$dynamicRef")


def closed_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with `additionalProperties: false` where an object's properties are named and nothing is said of
    others; as it is where it puts descriptions of one object together."""
    schema = dict(schema)
    result: dict[str, Any] = schema if any(map(_is_woven, _within(schema))) else _closed(schema)
    return result


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    for key, inner in _inner(schema):
        result[key] = (
            [_closed(each) for each in inner] if isinstance(inner, list)
            else {name: _closed(each) for name, each in inner.items()} if key in MAPS
            else _closed(inner)
        )  # fmt: skip
    properties, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list) or "additionalProperties" in schema:
        return result
    if all(isinstance(name, str) and name in properties for name in required):
        result["additionalProperties"] = False
    return result


def _inner(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields that hold schemas."""
    for key, inner in schema.items():
        if (key in MAPS and isinstance(inner, dict)) or (key in (*LISTS, *ONES) and isinstance(inner, dict | list)):
            yield key, inner


def _within(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema, and all that it holds."""
    if isinstance(schema, dict):
        yield schema
        for key, inner in _inner(schema):
            for each in inner.values() if key in MAPS else inner if isinstance(inner, list) else [inner]:
                yield from _within(each)


def _is_woven(schema: dict[str, Any]) -> bool:
    beside = sum(key in schema for key in BESIDE) + ("properties" in schema)
    parts = schema.get("allOf")
    return beside > 1 or any(key in schema for key in SUBTLE) or (isinstance(parts, list) and len(parts) > 1)
