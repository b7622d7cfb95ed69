"""Several conversations over one decoder: each one's logits are those that it gets alone, whatever the others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.checkpoint.checkpoint import Checkpoint
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.decoder import SlotStep
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import DecoderSlots, GraphDecoder
from omnilmm_lite.engine.spans import FORGOTTEN_AFTER, SlotRange, StepCosts, spans
from omnilmm_lite.errors import ContextFullError, OmniLMMError

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

    def step(self, decoder: GraphDecoder, token: int) -> SlotStep:
        return SlotStep(decoder, token, self.embed([token]))

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
            last = decoding.prefill(slots.decoders[i], texts[i][: done[i]])
            assert difference(last, wanted[i][done[i] - 1]) < TOLERANCE
        running = [i for i in open_ones if done[i]]
        chosen = [i for i in draw.permutation(running).tolist() if draw.random() < 0.7]
        if not chosen:
            continue
        steps = [decoding.step(slots.decoders[i], texts[i][done[i]]) for i in chosen]
        given = {id(step.decoder): logits for step, logits in slots.decode(steps)}
        found = {i: given[id(slots.decoders[i])] for i in chosen}
        assert len(given) == len(chosen)
        for i in chosen:
            assert difference(found[i], wanted[i][done[i]]) < TOLERANCE
            done[i] += 1


def test_a_slot_that_is_only_run_along_keeps_what_it_holds(decoding: Decoding) -> None:
    """One in the middle, full to its last row but one; then its next token is what it would have been."""
    ids = list(range(3, 3 + CONTEXT))
    slots = decoding.slots(3)
    first, middle, last = slots.decoders
    decoding.prefill(middle, ids[:-1])
    for decoder in (first, last):
        decoding.prefill(decoder, ids[:4])
    slots._costs.note(2, 1.0)  # and a step of three rows is cheaper than two steps
    list(slots.decode([decoding.step(each, 7) for each in (first, last)]))
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
    slots._costs.note(2, 1.0)  # and a step of three rows is cheaper than two steps
    list(slots.decode([decoding.step(each, 7) for each in (first, last)]))
    assert middle.length == CONTEXT - 1


def test_a_full_slot_takes_no_step_and_the_others_none_with_it(decoding: Decoding) -> None:
    slots = decoding.slots(2)
    full, other = slots.decoders
    decoding.prefill(full, list(range(3, 3 + CONTEXT)))
    decoding.prefill(other, [5, 6])
    with pytest.raises(ContextFullError):
        list(slots.decode([decoding.step(each, 7) for each in (full, other)]))
    assert (full.length, other.length) == (CONTEXT, 2)


def difference(found: Array, expected: Array) -> float:
    """Relative to the largest logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_slots_far_apart_step_by_themselves() -> None:
    """Rows cost 0.25 of the first: 1 + 0.25 x 7 = 2.75 for eight, 2 for one twice, 1.5 for three."""
    costs = StepCosts()
    assert spans([0, 7], costs.expected) == [SlotRange(0, 1), SlotRange(7, 1)]
    assert spans([0, 2], costs.expected) == [SlotRange(0, 3)]
    assert spans([0, 1, 6, 7], costs.expected) == [SlotRange(0, 2), SlotRange(6, 2)]
    assert spans([3], costs.expected) == [SlotRange(3, 1)]


def test_costs_are_what_was_measured_and_near_it_what_follows() -> None:
    costs = StepCosts()
    costs.note(1, 2.0)
    assert costs.expected(1) == 2.0
    assert costs.expected(5) == 4.0  # 2 x (1 + 0.25 x 4)
    for _ in range(10):
        costs.note(4, 10.0)
    assert spans([0, 3], costs.expected) == [SlotRange(0, 1), SlotRange(3, 1)]
    for _ in range(10):
        costs.note(4, 1.0)
    assert spans([0, 3], costs.expected) == [SlotRange(0, 4)]


def test_one_slow_step_changes_nothing() -> None:
    """The first of its rows, or one for which the machine stood still: 4 rows were measured at 1.5 of one's time."""
    for times in ([100.0], [1.5, 100.0], [100.0, 1.5, 1.5, 100.0]):
        costs = StepCosts()
        costs.note(1, 1.0)
        for seconds in times:
            costs.note(4, seconds)
        assert spans([0, 1, 2, 3], costs.expected) == [SlotRange(0, 4)]


def test_steps_that_were_slow_for_a_while_are_tried_again() -> None:
    costs = StepCosts()
    costs.note(1, 1.0)
    for _ in range(20):
        costs.note(4, 100.0)
    together = [SlotRange(0, 4)]
    for _ in range(FORGOTTEN_AFTER - 1):
        assert spans([0, 1, 2, 3], costs.expected) != together
        costs.note(1, 1.0)
    costs.note(1, 1.0)
    assert spans([0, 1, 2, 3], costs.expected) == together


def test_each_width_is_looked_up_once() -> None:
    """Among 64 slots it would be asked for two thousand times a step."""
    asked: list[int] = []

    def cost(rows: int) -> float:
        asked.append(rows)
        return 1.0 + 0.25 * rows

    assert spans([*range(2, 66)], cost) == [SlotRange(2, 64)]
    assert asked == [*range(1, 65)]


def test_what_a_failed_run_left_is_run_again(decoding: Decoding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs for slots far apart; the second one fails, and afterwards gives what it would have given."""
    slots, ids = decoding.slots(8), [5, 6, 7, 8]
    near, far = slots.decoders[0], slots.decoders[7]
    for decoder in (near, far):
        decoding.prefill(decoder, ids[:3])
    run = near.graphs.run

    def failing(span: SlotRange, *args: Any, **options: Any) -> Array:
        if span.first == far.slot:
            raise OmniLMMError("stopped")
        return run(span, *args, **options)

    monkeypatch.setattr(near.graphs, "run", failing)
    steps = [decoding.step(each, ids[3]) for each in (near, far)]
    given: list[tuple[SlotStep, Array]] = []
    with pytest.raises(OmniLMMError, match="stopped"):
        given.extend(slots.decode(steps))
    assert [step.decoder for step, _ in given] == [near]
    assert (near.length, far.length) == (4, 3)
    monkeypatch.undo()
    for _, logits in slots.decode([steps[1]]):
        assert difference(logits, decoding.alone(ids)[-1]) < TOLERANCE


class Timed(DecoderGraphs):
    """Two graphs that are the same one, with steps that are said to take so many milliseconds by their rows."""

    def __init__(self, decoding: Decoding, slots: int, answers: dict[int, float], prompts: dict[int, float]) -> None:
        def opened() -> Any:
            return decoding.session

        super().__init__(decoding.config, opened, Device.CPU, CONTEXT, opened, slots=slots)
        self.taken: list[tuple[int, bool]] = []
        self.clock = 0.0
        self._milliseconds = {False: answers, True: prompts}

    def run(self, slots: SlotRange, *given: Any, as_prompt: bool) -> Array:
        self.taken.append((slots.count, as_prompt))
        is_first = self.taken.count((slots.count, as_prompt)) == 1  # which touches memory that nobody has used yet
        self.clock += self._milliseconds[as_prompt].get(slots.count, 2.8) * (10 if is_first and not as_prompt else 1)
        return super().run(slots, *given, as_prompt=as_prompt)


@pytest.mark.parametrize(
    ("slots", "answers", "prompts", "by_prompts"),
    [
        (8, {2: 2.9, 4: 5.4, 8: 9.8}, {2: 4.2, 4: 4.7, 8: 7.3}, {4, 8}),  # without VNNI, as the products were measured
        (8, {2: 2.9, 4: 4.9, 8: 9.8}, {2: 4.2, 4: 4.7, 8: 7.3}, {8}),  # a twentieth is not worth it
        (8, {2: 54, 4: 70, 8: 117}, {2: 81, 4: 106, 8: 127}, set()),  # with it
        (8, {2: 2.9, 4: 5.4, 8: 7.0}, {2: 4.2, 4: 4.0, 8: 7.3}, set()),  # nor four by themselves
        (6, {2: 2.9, 4: 5.4}, {2: 2.0, 4: 3.5}, {2, 4, 6}),
        (1, {}, {}, set()),
    ],
)
def test_steps_go_through_the_graph_that_is_quicker_for_their_rows(
    slots: int,
    answers: dict[int, float],
    prompts: dict[int, float],
    by_prompts: set[int],
    decoding: Decoding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs = Timed(decoding, slots, answers, prompts)
    monkeypatch.setattr("omnilmm_lite.engine.graph_decoder.time.perf_counter", lambda: graphs.clock)
    several = DecoderSlots(graphs)
    several.choose_graphs()
    text = list(range(3, 9))
    wanted = decoding.alone(text)
    for decoder in several.decoders:
        decoding.prefill(decoder, text[:5])
    for rows in {1, slots, *by_prompts}:
        graphs.taken.clear()
        steps = [decoding.step(decoder, text[5]) for decoder in several.decoders[:rows]]
        for _, logits in several.decode(steps):
            assert difference(logits, wanted[5]) < TOLERANCE
        assert {as_prompt for count, as_prompt in graphs.taken if count == rows} == {rows in by_prompts}
        for decoder in several.decoders:
            decoder.truncate(5)
