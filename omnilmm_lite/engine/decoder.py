"""The decoder over its KV cache, whichever engine computes it: what it holds, and in what pieces prompts are run.

What the cache holds is remembered token by token, so a new prompt that begins like the last conversation only pays for
the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import ContextFullError

# Prefill runs in pieces of this many tokens: it bounds the activations' memory whatever the prompt's length.
PREFILL_CHUNK = 512
# Where prompts have a graph of their own, fewer new tokens than this still go through the one that decodes: it reads
# half the bytes.
SHORTEST_PREFILL = 4

Array = NDArray[np.float32]


class Decoder(ABC):
    """A decoder and its cache: one conversation at a time. `GraphDecoder` runs it by onnxruntime, `TorchDecoder` by
    torch."""

    def __init__(self, config: DecoderConfig, context: int) -> None:
        """`context`: tokens that the cache has room for."""
        self.config = config
        self.context = context
        self._held: list[Hashable] = []  # one key a cached token
        self._version = 0

    @abstractmethod
    def open(self) -> None:
        """Loads the weights; the first step does so, too."""

    @abstractmethod
    def _run(self, embeddings: Array, rows: NDArray[Any], *, as_prompt: bool) -> Array:
        """One pass over tokens (tokens, hidden) behind what the cache holds; logits (rows, vocab) of `rows`, which
        count from the first of these tokens, or from behind where negative. `as_prompt`: through what is made for
        many tokens, where the engine has two ways."""

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return len(self._held)

    @property
    def version(self) -> int:
        """Changes whenever a new prompt begins: an answer under way sees that the cache is no longer its own."""
        return self._version

    def reuse(self, keys: Sequence[Hashable]) -> int:
        """Begins a prompt: how many of its leading tokens the cache holds already. What comes after them is forgotten.

        `keys` stand for the prompt's tokens: equal keys mean equal embeddings. At least one token is left to run, since
        only running a token gives logits.
        """
        shared = self.shared(keys)
        del self._held[shared:]
        self._version += 1
        return shared

    def shared(self, keys: Sequence[Hashable]) -> int:
        """What `reuse` would give, and nothing is forgotten."""
        pairs = zip(self._held, keys[:-1], strict=False)
        return next((place for place, (old, new) in enumerate(pairs) if old != new), min(self.length, len(keys) - 1))

    def prefill(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        """Appends tokens to the cache: keys and embeddings (tokens, hidden). Returns the last one's logits (vocab,)."""
        self.check_room(len(keys))
        as_prompt = len(keys) >= SHORTEST_PREFILL
        for start in range(0, len(keys), PREFILL_CHUNK):
            chunk = slice(start, start + PREFILL_CHUNK)
            logits = self._append(keys[chunk], embeddings[chunk], np.asarray([-1]), as_prompt=as_prompt)
        return _last(logits)

    def prefill_logits(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        """Like `prefill`, but returns every token's logits: (tokens, vocab)."""
        return self._all_logits(keys, embeddings, as_prompt=True)

    def decode(self, key: Hashable, embedding: Array) -> Array:
        """Appends one token, embedding (1, hidden); returns its logits (vocab,)."""
        self.check_room(1)
        return _last(self._append([key], embedding, np.asarray([-1]), as_prompt=False))

    def decode_logits(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        """Like `decode` for many tokens that are known beforehand, in one go: (tokens, vocab).

        The kernels add up two rows in another order than one, so logits differ from `decode`'s by rounding: about 1e-7
        of a product. Where activations are int8, that now and then moves one to the next integer, and layer by layer
        more: in the end it is as much as int8 costs anyway.
        """
        return self._all_logits(keys, embeddings, as_prompt=False)

    def hold(self, key: Hashable) -> None:
        """For who runs several decoders' steps in one: this one's token is in the cache."""
        self._held.append(key)

    def truncate(self, length: int) -> None:
        """Forgets what comes behind the first `length` tokens, if anything: the next run writes over it."""
        del self._held[length:]

    def clear(self) -> None:
        """Forgets the conversation."""
        self._held.clear()
        self._version += 1

    def _all_logits(self, keys: Sequence[Hashable], embeddings: Array, *, as_prompt: bool) -> Array:
        self.check_room(len(keys))
        parts = []
        for start in range(0, len(keys), PREFILL_CHUNK):
            chunk = slice(start, start + PREFILL_CHUNK)
            rows = np.arange(len(keys[chunk]))
            parts.append(self._append(keys[chunk], embeddings[chunk], rows, as_prompt=as_prompt))
        return np.concatenate(parts)

    def check_room(self, tokens: int) -> None:
        """ContextFullError where the cache has no room for so many more."""
        if self.length + tokens > self.context:
            raise ContextFullError(
                f"the context has room for {self.context} tokens; {self.length} are used and {tokens} more were given"
            )

    def _append(self, keys: Sequence[Hashable], embeddings: Array, rows: NDArray[Any], *, as_prompt: bool) -> Array:
        logits = self._run(embeddings, rows, as_prompt=as_prompt)
        # only now: the rows that an interrupted step wrote lie behind what is held, and are written again
        self._held.extend(keys)
        return logits


@dataclass(frozen=True, eq=False)
class SlotStep:
    """A token more for one of several decoders."""

    decoder: Decoder
    key: Hashable
    embedding: Array  # (1, hidden)


def _last(logits: Array) -> Array:
    """(rows, vocab) -> (vocab,)."""
    row: Array = logits[-1]
    return row
