"""`response_format`: text, any JSON object, or JSON of a schema. Source: OpenAI's reference, "Structured outputs"."""

from __future__ import annotations

from typing import Any

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.fields import RequestFields

FIELD = "response_format"
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def read_response_format(request: RequestFields) -> dict[str, Any] | None:
    """The JSON schema that the answer has to keep to; None for text."""
    fields = request.object(FIELD)
    if fields is None:
        return None
    match fields.string("type"):
        case "text":
            fields.refuse_others(("type",), {})
            return None
        case "json_object":
            fields.refuse_others(("type",), {})
            return ANY_OBJECT
        case "json_schema":
            fields.refuse_others(("type", "json_schema"), {})
            return _schema(fields)
        case kind:
            name = f"{FIELD}.type"
            raise invalid(f"{name}: {printable(str(kind))!r} is none of text, json_object, json_schema", name)


def _schema(fields: RequestFields) -> dict[str, Any]:
    """Schemas are always kept to, whether `strict` asks for it or not."""
    described = fields.object("json_schema")
    schema = described.value("schema") if described is not None else None
    if described is None or not isinstance(schema, dict):
        name = f"{FIELD}.json_schema.schema"
        raise invalid(f"{name}: give the JSON schema as an object", name, "missing_required_parameter")
    described.refuse_others(("name", "description", "schema", "strict"), {})
    return schema
