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
    """The JSON schema that the answer has to keep to; None for text. Schemas are always kept to, whether `strict` asks
    for it or not."""
    fields = request.object(FIELD)
    if fields is None:
        return None
    match fields.string("type"):
        case "text":
            return None
        case "json_object":
            return ANY_OBJECT
        case "json_schema":
            fields.check(FORMAT)
            described = fields.object("json_schema")
            return read_schema(described, fields.name("json_schema.schema"))
        case kind:
            raise wrong_kind(fields, kind)


def read_schema(described: RequestFields | None, name: str) -> dict[str, Any]:
    """`described`: what holds the schema and its name. `name`: of the schema, for who left it out."""
    schema = described.value("schema") if described is not None else None
    if described is None or not isinstance(schema, dict):
        raise invalid(f"{name}: give the JSON schema as an object", name, "missing_required_parameter")
    described.check(SCHEMA)
    return schema


def wrong_kind(fields: RequestFields, kind: str | None) -> Exception:
    name = fields.name("type")
    return invalid(f"{name}: {printable(str(kind))!r} is none of text, json_object, json_schema", name)
