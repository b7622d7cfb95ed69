"""The decoder by onnxruntime: a slot of its graphs for each conversation, and one step for several of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.engine.decoder import Array, Decoder
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs, SlotRange


class GraphDecoder(Decoder):
    """One slot of `graphs`."""

    def __init__(self, graphs: DecoderGraphs, slot: int = 0) -> None:
        super().__init__(graphs.config, graphs.context)
        self.graphs, self.slot = graphs, slot

    def open(self) -> None:
        self.graphs.open()

    def decode(self, key: Hashable, embedding: Array) -> Array:
        if not self.graphs.cuda_graph:
            return super().decode(key, embedding)
        self.check_room(1)
        logits = self.graphs.recorded_step(embedding, self.length)
        self._held.append(key)
        return logits

    def hold(self, key: Hashable) -> None:
        """A step that ran for several slots has written this token's row."""
        self._held.append(key)

    def _run(self, embeddings: Array, rows: NDArray[Any], *, as_prompt: bool) -> Array:
        lengths = np.asarray([self.length], dtype=np.int32)
        logits: Array = self.graphs.run(
            SlotRange(self.slot, 1),
            embeddings[None],  # (1, tokens, hidden)
            rows,
            lengths,
            as_prompt=as_prompt,
        )[0]
        return logits


class DecoderSlots:
    """All slots of `graphs`, which decode together."""

    def __init__(self, graphs: DecoderGraphs) -> None:
        self.graphs = graphs
        self.decoders = [GraphDecoder(graphs, slot) for slot in range(graphs.slots)]

    def decode(self, steps: Sequence[tuple[GraphDecoder, Hashable, Array]]) -> Array:
        """One token more for each of several slots: its decoder, key and embedding (1, hidden). Logits (steps, vocab).

        Slots that lie between are run along and know nothing of it: the row that they write lies behind what they hold.
        """
        if len(steps) == 1:
            decoder, key, embedding = steps[0]
            return decoder.decode(key, embedding)[None]
        for decoder, _, _ in steps:
            decoder.check_room(1)
        first = min(decoder.slot for decoder, _, _ in steps)
        span = SlotRange(first, max(decoder.slot for decoder, _, _ in steps) - first + 1)
        embeddings = np.zeros((span.count, 1, self.graphs.config.hidden_size), np.float32)
        for decoder, _, embedding in steps:
            embeddings[decoder.slot - first] = embedding
        lengths = np.asarray([self._room_before(each) for each in self._slots(span)], dtype=np.int32)
        logits = self.graphs.run(span, embeddings, np.asarray([-1]), lengths, as_prompt=False)
        for decoder, key, _ in steps:
            decoder.hold(key)
        chosen: Array = logits[[decoder.slot - first for decoder, _, _ in steps], 0]
        return chosen

    def _slots(self, span: SlotRange) -> Sequence[GraphDecoder]:
        return self.decoders[span.first : span.first + span.count]

    def _room_before(self, decoder: GraphDecoder) -> int:
        """The slot's length. One that is full to its last row, and run along only, gives that row up."""
        decoder.truncate(self.graphs.context - 1)
        return decoder.length
