"""The schema that an answer has to keep to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

from omnilmm_lite.answer.grammar import GrammarCompiler
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.request.fields import parse_object
from omnilmm_lite.serve.request.schema.closed_schema import closed_object
from tests.fuzz.form import Form

FORM = Form.JSON


def seeds() -> Iterator[bytes]:
    point = {"type": "object", "properties": {"x": {"type": "integer", "minimum": -5}, "y": {"type": "number"}}}
    yield json.dumps(
        {
            "$defs": {"point": point},
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 20, "pattern": "^[a-z]+$"},
                "kind": {"enum": ["a", "b", 3, None]},
                "points": {"type": "array", "items": {"$ref": "#/$defs/point"}, "minItems": 1, "maxItems": 4},
                "either": {"anyOf": [{"type": "boolean"}, {"const": "none"}]},
            },
            "required": ["name"],
            "additionalProperties": False,
        }
    ).encode()
    yield b'{"type": "object"}'


def try_bytes(data: bytes) -> None:
    try:
        schema = parse_object(data)
    except ApiError as error:
        raise InputError(error.message) from error
    _compiler().json_schema(closed_object(schema)).start()


@cache
def _compiler() -> GrammarCompiler:
    bundle = Bundle.find(None)
    config = bundle.manifest.config
    return GrammarCompiler(bundle.path("tokenizer.json"), config.decoder.vocab_size, config.tokens.eos)
