"""The form of an answer: text, any JSON, or JSON of a schema. Source: OpenAI's reference, "Structured outputs"."""

from __future__ import annotations

from typing import Any

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.fields import RequestFields
from omnilmm_lite.serve.request.tables import FORMAT, SCHEMA

FIELD = "response_format"
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def read_response_format(request: RequestFields) -> dict[str, Any] | None:
    """Of a chat completion, or a completion; see `read_format`."""
    return read_format(request.object(FIELD), within="json_schema")


def read_format(fields: RequestFields | None, *, within: str | None) -> dict[str, Any] | None:
    """The JSON schema that the answer has to keep to; None for text. Schemas are always kept to, whether `strict` asks
    for it or not. `within`: the field whose object holds the schema and its name; None: they stand in `fields`."""
    if fields is None:
        return None
    match fields.string("type"):
        case "text":
            return None
        case "json_object":
            return ANY_OBJECT
        case "json_schema":
            if within is None:
                return _schema(fields, fields.name("schema"))
            fields.check(FORMAT)
            return _schema(fields.object(within), fields.name(f"{within}.schema"))
        case kind:
            name = fields.name("type")
            raise invalid(f"{name}: {printable(str(kind))!r} is none of text, json_object, json_schema", name)


def _schema(described: RequestFields | None, name: str) -> dict[str, Any]:
    """`described`: what holds the schema and its name. `name`: of the schema, for who left it out."""
    schema = described.value("schema") if described is not None else None
    if described is None or not isinstance(schema, dict):
        raise invalid(f"{name}: give the JSON schema as an object", name, "missing_required_parameter")
    described.check(SCHEMA)
    return schema
