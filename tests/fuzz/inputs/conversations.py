"""JSON lines to calibrate or to measure with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.text.conversations import Conversation, encode_conversation, read_source
from omnilmm_lite.text.tokenizer import Tokenizer
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.LINES
LINES = 6


def seeds() -> Iterator[bytes]:
    lines = (BUILTIN / "conversations.jsonl").read_bytes().splitlines(keepends=True)
    yield b"".join([line for line in lines if b'"image"' not in line][:LINES])
    yield b'{"image": "here.png", "question": "Why?", "answer": "So."}\n{"question": "And?", "answer": null}\n'


def try_bytes(data: bytes) -> None:
    written("conversations/here.png", b"not looked into")
    for source in ("data.jsonl", "data.txt"):
        found = read_source(written(f"conversations/{source}", data))
        for each in found if isinstance(found, list) else [Conversation(found)]:
            encode_conversation(each, _tokenizer(), _bundle().manifest.config)


@cache
def _bundle() -> Bundle:
    return Bundle.find(None)


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer(_bundle().path("tokenizer.json"))
