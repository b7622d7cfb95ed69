"""The sequences that two models are compared on, and which of their positions count as what."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.text.conversations import Conversation, encode_conversation, read_source, text_sequences
from omnilmm_lite.text.prompt import TextEncoder

TEXT_TOKENS = 512  # plain text is cut into sequences of this length
AFTER_PICTURE = 8  # positions behind a picture that are kept apart: the first to read from it


class Kind(IntEnum):
    """What a position's next token, the one it predicts, belongs to."""

    TEXT = 0
    AFTER_PICTURE = 1
    ANSWER = 2  # the assistant's turn with its end token


@dataclass(frozen=True)
class EvaluationSequence:
    """One sequence of tokens that both models are run on."""

    ids: tuple[int, ...]
    image: Path | None = None
    answer_start: int | None = None  # index of the answer's first id, len(ids) while it is unwritten; None in text

    @property
    def is_unanswered(self) -> bool:
        return self.answer_start == len(self.ids)

    @property
    def picture_name(self) -> str | None:
        return None if self.image is None else self.image.name


@dataclass(frozen=True)
class Positions:
    """Where a model is asked: `rows` of the logits, the ids that come next, and their kinds, (positions,) each."""

    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    kinds: NDArray[np.int64]


def read_data(source: Path | None, limit: int) -> list[Conversation] | str:
    """What `omnilmm_lite.text.conversations.read_source` takes; of many conversations, `limit` drawn by a fixed seed.

    InputError for it and for a picture that can't be read, before any model is loaded.
    """
    data = read_source(source)
    if isinstance(data, str):
        return data
    chosen = data if len(data) <= limit else random.Random(0).sample(data, limit)
    for path in dict.fromkeys(each.image for each in chosen if each.image is not None):
        load_image(path)
    return chosen


def build_samples(
    data: list[Conversation] | str, tokenizer: TextEncoder, config: OmniLMMConfig, limit: int
) -> list[EvaluationSequence]:
    """`data` as sequences, at most `limit`. InputError where there is nothing to predict in them."""
    if isinstance(data, str):
        sequences = text_sequences(data, tokenizer, config, TEXT_TOKENS)
        if len(sequences) > limit:
            sequences = random.Random(0).sample(sequences, limit)
        samples = [EvaluationSequence(tuple(ids)) for ids in sequences]
    else:
        samples = [_sample(each, tokenizer, config) for each in data]
    if not any(len(sample.ids) > 1 for sample in samples):
        raise InputError("the data holds no token to predict; give more text")
    return samples


def positions(samples: Iterable[EvaluationSequence], config: OmniLMMConfig) -> Iterator[Positions]:
    """Each sample's positions that count.

    Not those before a picture's placeholder, which nobody predicts; and what several samples begin with (the system's
    text, a picture's first question) counts in the first of them only, since it would be the same numbers again.
    """
    seen: set[Hashable] = set()
    for sample in samples:
        ids = np.asarray(sample.ids, dtype=np.int64)
        targets = ids[1:]
        counts = targets != config.tokens.im_patch
        counts &= np.fromiter(_is_new(sample, config, seen), dtype=bool, count=len(targets))
        rows = np.flatnonzero(counts)
        yield Positions(rows, targets[rows], _kinds(sample, config)[rows])


def _is_new(sample: EvaluationSequence, config: OmniLMMConfig, seen: set[Hashable]) -> Iterator[bool]:
    """Whether each position's context and next token are met for the first time; remembers them in `seen`."""
    prefix: int = hash(sample.ids[0])
    for token in sample.ids[1:]:
        prefix = hash((prefix, token, sample.image if token == config.tokens.im_patch else None))
        is_new = prefix not in seen
        seen.add(prefix)
        yield is_new


def _kinds(sample: EvaluationSequence, config: OmniLMMConfig) -> NDArray[np.int64]:
    """The kind of every position but the last, by its next token."""
    kinds = np.full(len(sample.ids) - 1, Kind.TEXT, dtype=np.int64)
    if sample.image is not None:
        last = len(sample.ids) - 1 - sample.ids[::-1].index(config.tokens.im_patch)
        kinds[last : last + AFTER_PICTURE] = Kind.AFTER_PICTURE
    if sample.answer_start is not None:
        kinds[sample.answer_start - 1 :] = Kind.ANSWER
    return kinds


def _sample(conversation: Conversation, tokenizer: TextEncoder, config: OmniLMMConfig) -> EvaluationSequence:
    ids = encode_conversation(conversation, tokenizer, config)
    if conversation.answer is None:
        return EvaluationSequence(tuple(ids), conversation.image, len(ids))
    prompt = encode_conversation(Conversation(conversation.question, None, conversation.image), tokenizer, config)
    # the heading and the answer are tokenised as one text: the answer starts where the two first differ
    same = (a == b for a, b in zip(prompt, ids, strict=False))
    start = next((index for index, equal in enumerate(same) if not equal), len(prompt))
    return EvaluationSequence(tuple(ids), conversation.image, start)
