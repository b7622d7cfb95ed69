"""Closed schemas, against jsonschema's own reading of them and of those that were sent."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from omnilmm_lite.serve.request.schema.closed_schema import closed_object
from omnilmm_lite.serve.request.tools import Tool, ToolMode, ToolUse

PROPERTIES = {"a": {"type": "integer"}}


class Point(BaseModel):
    x: int
    y: int = 0


class Shape(BaseModel):
    name: str
    corners: list[Point]
    centre: Point | None = None


def test_what_pydantic_sends_is_closed_at_every_depth() -> None:
    schema = closed_object(Shape.model_json_schema())
    good = {"name": "x", "corners": [{"x": 1, "y": 2}], "centre": None}
    jsonschema.validate(good, schema)
    for bad in (good | {"z": 1}, good | {"corners": [{"x": 1, "z": 1}]}, good | {"centre": {"x": 1, "z": 1}}):
        jsonschema.validate(bad, Shape.model_json_schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"properties": PROPERTIES, "additionalProperties": True},
        {"properties": PROPERTIES, "additionalProperties": {"type": "string"}},
        {"properties": PROPERTIES, "required": ["a", "b"]},
        {"allOf": [{"properties": PROPERTIES}, {"properties": {"b": {}}}]},
        {"properties": PROPERTIES, "$ref": "#/$defs/b", "$defs": {"b": {"properties": {"b": {}}}}},
        {"properties": PROPERTIES, "anyOf": [{"properties": {"b": {}}}]},
        {"properties": {"x": {"not": {"properties": PROPERTIES}}}},
        {"properties": PROPERTIES, "patternProperties": {"^b": {}}},
        {"enum": [{"properties": {"a": 1}}]},
    ],
)
def test_what_says_more_of_an_object_is_left_as_it_is(schema: dict[str, Any]) -> None:
    assert closed_object(schema) == schema


SCHEMAS = st.recursive(
    st.sampled_from([{}, {"type": "integer"}, {"type": "string"}, True, {"type": "object"}, {"const": {"a": 1}}]),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2)},
            optional={"required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
                      "anyOf": st.lists(inner, min_size=1, max_size=2), "additionalProperties": inner},
        ),
        st.builds(lambda each: {"items": each}, inner),
        st.builds(lambda each: {"anyOf": each}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda each: {"allOf": each}, st.lists(inner, min_size=1, max_size=2)),
    ),
    max_leaves=8,
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from([1, "s", None]),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), VALUES)
def test_what_keeps_to_the_closed_schema_keeps_to_the_one_that_was_sent(schema: dict[str, Any], value: Any) -> None:
    if jsonschema.Draft202012Validator(closed_object(schema)).is_valid(value):
        jsonschema.validate(value, schema)


def test_a_function_without_parameters_has_no_arguments() -> None:
    use = ToolUse((Tool("f", "", {"type": "object", "properties": {}}),), ToolMode.REQUIRED)
    jsonschema.validate({"name": "f", "arguments": {}}, use.schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "f", "arguments": {"a": 1}}, use.schema())
