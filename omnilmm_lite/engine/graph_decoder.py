"""The decoder by onnxruntime: a slot of its graphs for each conversation, and one step for several of them."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.engine.decoder import Array, Decoder, SlotStep
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.spans import SlotRange, StepCosts, spans

TRIES = 3  # of each step that is measured, of which the first one touches memory that nobody has used yet
WORTHWHILE = 0.9  # of a step's time: for less, answers needn't depend on how many there are


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
        self._places: dict[Decoder, int] = {decoder: slot for slot, decoder in enumerate(self.decoders)}
        self._costs = StepCosts()
        self._least_by_prompts = graphs.slots + 1  # rows from which a step goes through the prompts' graph

    def choose_graphs(self) -> None:
        """Measures which graph steps several slots sooner: the one that decodes reads half as many bytes, the prompts'
        one has products for many rows, which are the quicker ones from some rows on, depending on the processor. It
        takes seconds with the full model. For slots that hold nothing."""
        if not self.graphs.has_prefill_graph:
            return
        for power in range(self.graphs.slots.bit_length() - 1, 0, -1):
            rows = 1 << power
            by_prompts, by_answers = (self._measured(rows, as_prompt=each) for each in (True, False))
            if by_prompts > WORTHWHILE * by_answers:
                return
            self._least_by_prompts = rows

    def _measured(self, rows: int, *, as_prompt: bool) -> float:
        """Seconds of such a step. What it writes lies behind what the slots hold."""
        embeddings = np.zeros((rows, 1, self.graphs.config.hidden_size), np.float32)
        times = []
        for _ in range(TRIES):
            started = time.perf_counter()
            lengths = np.zeros(rows, np.int32)
            self.graphs.run(SlotRange(0, rows), embeddings, np.asarray([-1]), lengths, as_prompt=as_prompt)
            times.append(time.perf_counter() - started)
        return min(times)

    def decode(self, steps: Sequence[SlotStep]) -> Iterator[tuple[SlotStep, Array]]:
        """One token more for each of several slots, in as many runs as are cheapest: each step with its logits (vocab,)
        once it is run. Where a run fails, those that were given are done, and the others as if they had never begun.

        Slots that lie between are run along and know nothing of it: the row that they write lies behind what they hold.
        ContextFullError, before anything is run, where one of `steps` has no room.
        """
        for step in steps:
            step.decoder.check_room(1)
        by_slot = {self._places[step.decoder]: step for step in steps}
        for span in spans(sorted(by_slot), self._costs.expected):
            chosen = [by_slot[slot] for slot in range(span.first, span.first + span.count) if slot in by_slot]
            yield from zip(chosen, self._run(span, chosen), strict=True)

    def _run(self, span: SlotRange, steps: Sequence[SlotStep]) -> Array:
        started = time.perf_counter()
        if span.count == 1:
            logits = steps[0].decoder.decode(steps[0].key, steps[0].embedding)[None]
        else:
            embeddings = np.zeros((span.count, 1, self.graphs.config.hidden_size), np.float32)
            rows = [self._places[step.decoder] - span.first for step in steps]
            for row, step in zip(rows, steps, strict=True):
                embeddings[row] = step.embedding
            lengths = np.asarray([self._length(span.first + row) for row in range(span.count)], np.int32)
            by_prompts = span.count >= self._least_by_prompts
            logits = self.graphs.run(span, embeddings, np.asarray([-1]), lengths, as_prompt=by_prompts)
            logits = logits[rows, 0]  # (steps, vocab)
            for step in steps:
                step.decoder.hold(step.key)
        self._costs.note(span.count, time.perf_counter() - started)
        return logits

    def _length(self, slot: int) -> int:
        """Tokens that the slot holds. One that is full to its last row, and run along only, gives that row up."""
        decoder = self.decoders[slot]
        decoder.truncate(self.graphs.context - 1)
        return decoder.length
