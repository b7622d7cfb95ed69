"""Several conversations over one decoder: each one's logits are those that it gets alone, whatever the others do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.checkpoint.checkpoint import Checkpoint
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import DecoderSlots, GraphDecoder
from omnilmm_lite.errors import ContextFullError

Array = NDArray[np.float32]
CONTEXT = 24
# fp32: one row's sums and those of several are added up in another order.
TOLERANCE = 2e-5


class Decoding:
    """One graph, opened for any number of slots."""

    def __init__(self, bundle: Path, config: DecoderConfig) -> None:
        self.session = open_session(bundle / "decoder.onnx", Device.CPU, 1)
        self.embed, self.config = EmbeddingTable(bundle / "embeddings.npy", config), config

    def slots(self, count: int) -> DecoderSlots:
        return DecoderSlots(DecoderGraphs(self.config, lambda: self.session, Device.CPU, CONTEXT, slots=count))

    def alone(self, ids: list[int]) -> Array:
        """Every position's logits, (tokens, vocab)."""
        return self.slots(1).decoders[0].prefill_logits(ids, self.embed(ids))

    def prefill(self, decoder: GraphDecoder, ids: list[int]) -> Array:
        start = decoder.reuse(ids)
        return decoder.prefill(ids[start:], self.embed(ids[start:]))


@pytest.fixture(scope="module")
def decoding(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> Decoding:
    return Decoding(tiny_bundle, tiny_checkpoint.config.decoder)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_sequences_that_join_and_leave_get_the_logits_that_they_get_alone(
    decoding: Decoding, seed: int, count: int
) -> None:
    """Each begins when it likes, in any slot, and steps together with a random choice of the others."""
    draw = np.random.default_rng(seed)
    slots = decoding.slots(count)
    texts = [draw.integers(3, decoding.config.vocab_size, draw.integers(2, CONTEXT + 1)).tolist() for _ in range(count)]
    wanted = [decoding.alone(ids) for ids in texts]
    done = [0] * count
    while open_ones := [i for i in range(count) if done[i] < len(texts[i])]:
        fresh = [i for i in open_ones if not done[i]]
        if fresh and draw.random() < 0.4:
            i = int(draw.choice(fresh))
            done[i] = int(draw.integers(1, len(texts[i])))
            found = decoding.prefill(slots.decoders[i], texts[i][: done[i]])
            assert difference(found, wanted[i][done[i] - 1]) < TOLERANCE
        running = [i for i in open_ones if done[i]]
        chosen = [i for i in draw.permutation(running).tolist() if draw.random() < 0.7]
        if not chosen:
            continue
        steps = [(slots.decoders[i], texts[i][done[i]], decoding.embed([texts[i][done[i]]])) for i in chosen]
        logits = slots.decode(steps)
        for row, i in zip(logits, chosen, strict=True):
            assert difference(row, wanted[i][done[i]]) < TOLERANCE
            done[i] += 1


def test_a_slot_that_is_only_run_along_keeps_what_it_holds(decoding: Decoding) -> None:
    """One in the middle, full to its last row but one; then its next token is what it would have been."""
    ids = list(range(3, 3 + CONTEXT))
    slots = decoding.slots(3)
    first, middle, last = slots.decoders
    decoding.prefill(middle, ids[:-1])
    for decoder in (first, last):
        decoding.prefill(decoder, ids[:4])
    slots.decode([(each, 7, decoding.embed([7])) for each in (first, last)])
    assert middle.length == CONTEXT - 1
    found = middle.decode(ids[-1], decoding.embed(ids[-1:]))
    assert difference(found, decoding.alone(ids)[-1]) < TOLERANCE


def test_a_full_slot_that_is_run_along_gives_up_the_row_that_is_written_over(decoding: Decoding) -> None:
    ids = list(range(3, 3 + CONTEXT))
    slots = decoding.slots(3)
    first, middle, last = slots.decoders
    decoding.prefill(middle, ids)
    for decoder in (first, last):
        decoding.prefill(decoder, ids[:4])
    slots.decode([(each, 7, decoding.embed([7])) for each in (first, last)])
    assert middle.length == CONTEXT - 1


def test_a_full_slot_takes_no_step_and_the_others_none_with_it(decoding: Decoding) -> None:
    full, other = decoding.slots(2).decoders
    decoding.prefill(full, list(range(3, 3 + CONTEXT)))
    decoding.prefill(other, [5, 6])
    with pytest.raises(ContextFullError):
        DecoderSlots(full.graphs).decode([(each, 7, decoding.embed([7])) for each in (full, other)])
    assert (full.length, other.length) == (CONTEXT, 2)


def difference(found: Array, expected: Array) -> float:
    """Relative to the largest logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
