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
class Prompt:
    """One calibration sequence before its embeddings are looked up."""

    ids: tuple[int, ...]
    image: Path | None = None
    is_open: bool = False  # ends where an answer is to begin


@dataclass(frozen=True)
class CalibrationLimits:
    """How much of the data is used; which part of it is chosen by the seed."""

    samples: int = 128
    tokens: int = 512  # a sequence's greatest length
    seed: int = 0


def read_prompts(
    source: Path | None, tokenizer: TextEncoder, config: OmniLMMConfig, limits: CalibrationLimits
) -> list[Prompt]:
    """Calibration sequences, the same for the same arguments.

    `source`: what `omnilmm_lite.text.conversations.read_source` takes. InputError for anything else.
    """
    data = read_source(source)
    if isinstance(data, str):
        sequences = text_sequences(data, tokenizer, config, limits.tokens)
        prompts = [Prompt(tuple(ids)) for ids in _shuffled(sequences, limits)]
    else:
        conversations = data if source is None else _shuffled(data, limits)
        prompts = [
            Prompt(tuple(encode_conversation(each, tokenizer, config)), each.image, is_open=each.answer is None)
            for each in conversations
        ]
    cut = [replace(prompt, ids=prompt.ids[: limits.tokens]) for prompt in prompts[: limits.samples]]
    for prompt, whole in zip(cut, prompts, strict=False):
        patches = (ids.count(config.tokens.im_patch) for ids in (prompt.ids, whole.ids))
        if len(set(patches)) > 1:
            raise InputError(f"calibration on pictures needs more than {limits.tokens} tokens a sequence")
    return cut


def _shuffled(items: list[Item], limits: CalibrationLimits) -> list[Item]:
    return random.Random(limits.seed).sample(items, min(len(items), limits.samples))
