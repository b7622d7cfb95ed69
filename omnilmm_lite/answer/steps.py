"""What an answer asks of the decoder, a step at a time. Alone it runs them at once; among others they are joined."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.engine.decoder import Decoder

Logits: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class PrefillStep:
    """What the cache lacks of a prompt. Wants the last token's logits (vocab,)."""

    keys: Sequence[Hashable]
    embeddings: NDArray[np.float32]  # (tokens, hidden)

    def run(self, decoder: Decoder) -> Logits:
        return decoder.prefill(self.keys, self.embeddings)


@dataclass(frozen=True)
class TokenStep:
    """One token more. Wants its logits (vocab,)."""

    token: int
    embedding: NDArray[np.float32]  # (1, hidden)

    def run(self, decoder: Decoder) -> Logits:
        return decoder.decode(self.token, self.embedding)


@dataclass(frozen=True)
class DraftStep:
    """A token and a draft behind it. Wants the logits of each: (tokens, vocab)."""

    tokens: Sequence[int]
    embeddings: NDArray[np.float32]  # (tokens, hidden)

    def run(self, decoder: Decoder) -> Logits:
        return decoder.decode_logits(self.tokens, self.embeddings)


Step: TypeAlias = PrefillStep | TokenStep | DraftStep
# Gives the step that is to be run, is sent its logits, and returns them.
Asking: TypeAlias = Generator[Step, Logits | None, Logits]


def asked(step: Step) -> Asking:
    logits = yield step
    assert logits is not None  # whoever runs an answer's steps sends each one's logits
    return logits
