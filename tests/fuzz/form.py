"""What a file's bytes are made of, which says how they are damaged."""

from __future__ import annotations

from enum import Enum


class Form(Enum):
    BYTES = "bytes"
    JSON = "JSON"
    LINES = "JSON lines"
    TENSORS = "safetensors: the length of a JSON header, the header, data"
    MESSAGE = "protobuf"
