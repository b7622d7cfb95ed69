"""`tokenizer.json` of a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.text.tokenizer import Tokenizer
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.JSON
PIECES = 400  # of tiny's, so that one try takes a millisecond


def seeds() -> Iterator[bytes]:
    whole: dict[str, Any] = json.loads((BUILTIN / "tiny" / "tokenizer.json").read_text(encoding="utf-8"))
    model = whole["model"]
    model["vocab"] = {piece: number for piece, number in model["vocab"].items() if number < PIECES}
    model["merges"] = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= model["vocab"].keys()]
    yield json.dumps(whole).encode()


def try_bytes(data: bytes) -> None:
    tokenizer = Tokenizer(written("tokenizer.json", data))
    ids = tokenizer.encode_text("What is this? Été <im_patch> 日本\n")
    tokenizer.decode([*ids, *range(tokenizer.vocab_size + 1)[-20:], *sorted(tokenizer.special_ids)])
