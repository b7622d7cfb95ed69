"""What the decoder is calibrated on, as token ids: conversations with and without pictures, and plain text."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.text.conversations import encode_conversation, read_source, text_sequences
from omnilmm_lite.text.prompt import TextEncoder

Item = TypeVar("Item")


@dataclass(frozen=True)
class TokenSequence:
    """The ids of one calibration sequence, and the picture whose features are put in the place of `<im_patch>`."""

    ids: tuple[int, ...]
    image: Path | None = None
    is_open: bool = False  # it ends where an answer is to begin


@dataclass(frozen=True)
class CalibrationLimits:
    """How much of the data is used; which part of it is chosen by the seed."""

    samples: int = 128
    tokens: int = 512  # a sequence's greatest length
    seed: int = 0


def read_sequences(
    source: Path | None, tokenizer: TextEncoder, config: OmniLMMConfig, limits: CalibrationLimits
) -> list[TokenSequence]:
    """Calibration sequences, the same for the same arguments.

    `source`: what `omnilmm_lite.text.conversations.read_source` takes. InputError for anything else.
    """
    data = read_source(source)
    if isinstance(data, str):
        texts = text_sequences(data, tokenizer, config, limits.tokens)
        whole = [TokenSequence(tuple(ids)) for ids in _shuffled(texts, limits)]
    else:
        conversations = data if source is None else _shuffled(data, limits)
        whole = [
            TokenSequence(tuple(encode_conversation(each, tokenizer, config)), each.image, is_open=each.answer is None)
            for each in conversations
        ]
    cut = [replace(sequence, ids=sequence.ids[: limits.tokens]) for sequence in whole[: limits.samples]]
    for before, after in zip(whole, cut, strict=False):
        patches = (sequence.ids.count(config.tokens.im_patch) for sequence in (before, after))
        if len(set(patches)) > 1:
            raise InputError(f"calibration on pictures needs more than {limits.tokens} tokens a sequence")
    return cut


def _shuffled(items: list[Item], limits: CalibrationLimits) -> list[Item]:
    return random.Random(limits.seed).sample(items, min(len(items), limits.samples))
