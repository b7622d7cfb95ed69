"""The tokens that OmniLMM appends to its tokenizer's pieces, as the files of a Hugging Face folder name them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omnilmm_lite.files.json_file import read_json

# What OmniLMM's training code appends to the vocabulary, in this order.
ADDED_TOKENS = ("<im_patch>", "<im_start>", "<im_end>", "<box>", "</box>", "<ref>", "</ref>", "<quad>", "</quad>")
IMAGE_TOKENS = ADDED_TOKENS[:3]


def added_tokens(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files that list added tokens with ids, the most specific first, each with what it lists: token -> id.

    An entry without a token's text or a place for its id is left out; whether an id can be one is for the caller to
    check. InputError for a file that holds no JSON object.
    """
    path = folder / "added_tokens.json"
    if path.is_file():
        yield path, read_json(path)
    path = folder / "tokenizer_config.json"
    if path.is_file():
        decoder = read_json(path).get("added_tokens_decoder")
        numbered = decoder.items() if isinstance(decoder, dict) else ()
        entries = [(entry, int(index)) for index, entry in numbered if re.fullmatch("[0-9]{1,9}", index)]
        yield path, {text: index for entry, index in entries if (text := _text(entry))}
    path = folder / "tokenizer.json"
    if path.is_file():
        listed = read_json(path).get("added_tokens")
        objects = [entry for entry in (listed if isinstance(listed, list) else ()) if isinstance(entry, dict)]
        yield path, {text: entry["id"] for entry in objects if "id" in entry and (text := _text(entry))}


def unnumbered_tokens(folder: Path) -> list[str]:
    """`additional_special_tokens` of tokenizer_config.json: they follow the last piece, in this order. Often none."""
    path = folder / "tokenizer_config.json"
    listed = read_json(path).get("additional_special_tokens") if path.is_file() else None
    return [text for entry in (listed if isinstance(listed, list) else ()) if (text := _text(entry))]


def _text(entry: Any) -> str:
    """A token's text, which transformers writes bare or as the fields of an AddedToken; "" for anything else."""
    content = entry.get("content") if isinstance(entry, dict) else entry
    return content if isinstance(content, str) else ""
