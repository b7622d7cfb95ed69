"""Trains tiny's sentencepiece model and writes the tokenizer's files as the published checkpoint has them.

It is a tokenizer.model, not a tokenizer.json, so that tiny goes through the same conversion as OmniLMM-12B.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from examples.tiny.dataset import questions
from examples.tiny.dataset.kinds import names, plural, with_article
from examples.tiny.dataset.pictures import Studio
from omnilmm_lite.text.prompt import DEFAULT_SYSTEM

VOCABULARY = 1536
ADDED = ("<im_patch>", "<im_start>", "<im_end>", "<box>", "</box>", "<ref>", "</ref>", "<quad>", "</quad>")


def corpus(studio: Studio) -> list[str]:
    """Lines whose first word stands without a space before it, as it does after a line break in the prompt."""
    rng = np.random.default_rng(5)
    lines = [DEFAULT_SYSTEM] * 300
    lines += [f"<|{role}|>" for role in ("system", "user", "assistant")] * 3000
    for _ in range(6000):
        for pair in questions.pairs(studio.example(rng).scene, rng, 4):
            lines += pair
    for wordings, answer in questions.CHAT:
        lines += [*wordings, answer] * 60
    for name in names():
        lines += [f"a {name}, {with_article(name)}. The {name} {plural(name)}? {plural(name)}"] * 60
    # Apart from the words, so that "cat?" and "cat." share a piece; every mark is a piece of its own anyway.
    return [re.sub(r"[?.!,']", " ", line).strip() for line in lines]


def train(lines: list[str]) -> bytes:
    """A sentencepiece BPE model with Mistral's settings; its bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,  # put on below: in training it would glue the space to every first word
        split_digits=True,
        byte_fallback=True,
        split_by_unicode_script=False,
        split_by_number=False,
        character_coverage=1.0,
        required_chars="".join(map(chr, range(33, 127))),
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(model.getvalue())
    proto.normalizer_spec.add_dummy_prefix = True
    return bytes(proto.SerializeToString())


def write(model: bytes, folder: Path) -> None:
    """tokenizer.model, added_tokens.json, special_tokens_map.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    added = {token: VOCABULARY + index for index, token in enumerate(ADDED)}
    _write_json(folder / "added_tokens.json", added)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    _write_json(folder / "special_tokens_map.json", special)
    decoder = {
        str(number): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                      "special": True}
        for token, number in {"<unk>": 0, "<s>": 1, "</s>": 2, **added}.items()
    }  # fmt: skip
    _write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": decoder,
            "legacy": True,
            "model_max_length": 2048,
            "tokenizer_class": "LlamaTokenizer",
            **special,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", type=Path, required=True, help="unpacked npm package @lobehub/fluent-emoji-3d")
    parser.add_argument("--emojibase", type=Path, required=True, help="unpacked npm package emojibase-data")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    write(train(corpus(Studio(args.emoji, args.emojibase))), args.folder)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
