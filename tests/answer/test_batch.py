"""Answers that run together are those that each is alone, whenever it comes and whoever leaves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from omnilmm_lite.answer.batch import AnswerBatch, Ended, PieceLength, Said, Seat
from omnilmm_lite.answer.generation import Answer, FinishReason, Prompt, TextModel
from omnilmm_lite.answer.grammar import GrammarCompiler
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder import SHORTEST_PREFILL
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.graph_decoder import DecoderSlots
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.model import BundleModel, load
from omnilmm_lite.sampling_params import SamplingParams
from tests.paths import ROOT

CAT = ROOT / "examples/pictures/cat.png"
Make = Callable[[TextModel], Answer]
GREEDY = SamplingParams(temperature=0.0, repetition_penalty=1.0, max_new_tokens=12)
CONTEXT = 96
STALL_S = 0.01
HOT = SamplingParams(temperature=3.0, seed=7, max_new_tokens=20)
# Of fp32 logits that several rows give and one alone: nearer ones are equal (tests/engine/test_slots.py).
TIE = 1e-3


def batch_of(model: BundleModel, slots: int, context: int = CONTEXT, stall_s: float = STALL_S) -> AnswerBatch:
    bundle = model.bundle
    session = open_session(bundle.path(bundle.manifest.graphs.decode), Device.CPU, 1)
    graphs = DecoderGraphs(model.config.decoder, lambda: session, Device.CPU, context, slots=slots)
    return AnswerBatch(model.text, DecoderSlots(graphs), stall_s)


def finish(batch: AnswerBatch) -> dict[Seat, str]:
    """Steps until nobody is left; what each said."""
    texts: dict[Seat, str] = {}
    while len(batch):
        for outcome in batch.step():
            texts.setdefault(outcome.seat, "")
            if isinstance(outcome, Said):
                texts[outcome.seat] += outcome.text
            else:
                assert outcome.error is None
    return texts


@pytest.mark.parametrize("seed", range(8))
def test_one_to_eight_sequences_say_what_each_says_alone(model: BundleModel, seed: int) -> None:
    """The reference's numbers, fp32. A token may be another one where the two best logits are the same but for the
    order of sums."""
    draw = np.random.default_rng(seed)
    count = seed + 1
    batch = batch_of(model, int(draw.integers(1, count + 1)))
    vocab = model.config.decoder.vocab_size
    prompts = [draw.integers(3, vocab, draw.integers(1, 70)).tolist() for _ in range(count)]
    waiting, seats = list(range(count)), dict[int, Seat]()
    while waiting or len(batch):
        if waiting and batch.has_room and draw.random() < 0.5:
            i = waiting.pop(int(draw.integers(len(waiting))))
            seats[i] = batch.join(Prompt(prompts[i]), greedy(prompts[i]))
        batch.step()
    for i, seat in seats.items():
        model.text.decoder.clear()
        alone = greedy(prompts[i])(model.text)
        text = "".join(alone)
        if seat.answer.tokens != alone.tokens:
            at = next(
                k for k, pair in enumerate(zip(seat.answer.tokens, alone.tokens, strict=False)) if len({*pair}) > 1
            )
            best, second = (each.logprob for each in alone.said[at].top)
            assert best - second < TIE
        else:
            assert (seat.answer.text, seat.answer.finish_reason) == (text, alone.finish_reason)


def greedy(ids: list[int]) -> Make:
    return lambda text: Answer(text, Prompt(ids), GREEDY, top_logprobs=2)


@pytest.fixture(scope="module")
def builtin() -> BundleModel:
    return load(threads=1)


def test_each_keeps_its_own_sampler_stop_strings_grammar_and_picture(builtin: BundleModel) -> None:
    config = builtin.config
    compiler = GrammarCompiler(builtin.parts.tokenizer_file, config.decoder.vocab_size, config.tokens.eos)
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    image = builtin.vision.encode(CAT)

    def prompt(question: str, *, picture: bool) -> Prompt:
        ids = builtin.encode_chat([{"role": "user", "content": question}], image=picture)
        return Prompt(ids, image if picture else None)

    about, plain = prompt("What is this?", picture=True), prompt("What can you do?", picture=False)
    makes: list[tuple[Prompt, Make]] = [
        (about, lambda text: Answer(text, about, SamplingParams.greedy())),
        (about, lambda text: Answer(text, about, HOT)),
        (about, lambda text: Answer(text, about, SamplingParams.greedy(), stop=(" cat",))),
        (plain, lambda text: Answer(text, plain, SamplingParams.greedy(), grammar=compiler.json_schema(schema))),
        (plain, lambda text: Answer(text, plain, replace(SamplingParams(), seed=3))),
    ]
    batch = batch_of(builtin, len(makes), context=256)
    seats = [batch.join(*each) for each in makes]
    together = finish(batch)
    for seat, (_, make) in zip(seats, makes, strict=True):
        builtin.text.decoder.clear()
        alone = make(builtin.text)
        assert together[seat] == "".join(alone)
        assert seat.answer.finish_reason is alone.finish_reason
    assert together[seats[0]] == "This is a cat."


def test_drafts_run_beside_others(builtin: BundleModel) -> None:
    text = replace(builtin.text, drafts=True)
    ids = builtin.encode_chat([{"role": "user", "content": "one two three one two three one two"}], image=False)
    batch = batch_of(builtin, 2, context=256)
    batch._text = text
    for _ in range(2):
        batch.join(Prompt(ids), lambda model: Answer(model, Prompt(ids), SamplingParams.greedy()))
    first, second = finish(batch).values()
    builtin.text.decoder.clear()
    assert first == second == "".join(Answer(builtin.text, Prompt(ids), SamplingParams.greedy()))


def test_a_prompt_comes_in_pieces_between_the_others_tokens(model: BundleModel) -> None:
    batch = batch_of(model, 2, stall_s=0.0)  # no piece is short enough: 64 tokens, 32, 16, then 8 and the last 5
    first = batch.join(Prompt([5, 6]), lambda text: Answer(text, Prompt([5, 6]), replace(GREEDY, max_new_tokens=40)))
    batch.step()
    for _ in range(2):
        batch._piece.note(1.0)
    ids = list(range(3, 32))
    newcomer = batch.join(Prompt(ids), greedy(ids))
    steps = 0
    while not newcomer.answer.tokens:
        before = len(first.answer.tokens)
        batch.step()
        assert len(first.answer.tokens) == before + 1
        steps += 1
    assert steps == 3  # 29 tokens: 16, 8, 5


def test_pieces_grow_while_there_is_time() -> None:
    piece = PieceLength(1.0)
    sizes = []
    for seconds in (0.4, 0.9, 1.1, *[5.0] * 9, *[0.0] * 9):
        piece.note(seconds)
        sizes.append(piece.tokens)
    assert sizes == [128, 128, 64, 32, 16, *[8] * 7, 16, 32, 64, 128, 256, *[512] * 4]


def test_a_conversation_finds_its_slot_again(model: BundleModel) -> None:
    """And another one takes that which was left first."""
    batch = batch_of(model, 3)
    a, b = list(range(10, 30)), list(range(40, 60))
    left = []
    for ids in (a, b):
        seat = batch.join(Prompt(ids), greedy(ids))
        finish(batch)
        left.append(seat.decoder)
    again = [*b, 7]
    seat = batch.join(Prompt(again), greedy(again))
    assert seat.decoder is left[1]
    finish(batch)
    assert seat.answer.timings.prefill_tokens == 1
    other = batch.join(Prompt([8]), greedy([8]))
    assert other.decoder not in left


def test_who_leaves_frees_the_slot_and_the_others_go_on(model: BundleModel) -> None:
    batch = batch_of(model, 2)
    one, two = ([5, 6], [7, 8])
    seats = [batch.join(Prompt(ids), greedy(ids)) for ids in (one, two)]
    with pytest.raises(OmniLMMError, match="taken"):
        batch.join(Prompt(one), greedy(one))
    batch.step()
    batch.leave(seats[0])
    batch.leave(seats[0])
    assert batch.has_room
    third = batch.join(Prompt([9]), greedy([9]))
    assert {*finish(batch)} == {seats[1], third}
    assert seats[0].answer.finish_reason is None
    assert seats[1].answer.finish_reason is FinishReason.LENGTH


def ends(batch: AnswerBatch) -> list[tuple[Seat, str]]:
    """Steps until nobody is left; how each ended, in that order."""
    ended = list[tuple[Seat, str]]()
    while len(batch):
        ended += [(each.seat, str(each.error)) for each in batch.step() if isinstance(each, Ended)]
    return ended


@pytest.mark.parametrize("error", [OmniLMMError("broken numbers"), ValueError("a mistake of ours")])
def test_a_broken_answer_ends_alone(model: BundleModel, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    batch = batch_of(model, 2)
    good, bad = (batch.join(Prompt(ids), greedy(ids)) for ids in ([5, 6], [7, 8]))

    def broken(logits: object) -> int:
        raise error

    monkeypatch.setattr(bad.answer._sampler, "next", broken)
    assert ends(batch) == [(bad, str(error)), (good, "None")]
    assert len(good.answer.tokens) == GREEDY.max_new_tokens


def test_a_run_that_fails_ends_who_was_in_it(model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt's alone, a step's all who decode; the next one finds its slot as good as new."""
    batch = batch_of(model, 3)
    first = batch.join(Prompt([5, 6]), greedy([5, 6]))
    batch.step()
    newcomer = batch.join(Prompt([7, 8]), greedy([7, 8]))

    def broken(*_: object) -> NoReturn:
        raise OmniLMMError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(newcomer.decoder, "prefill", broken)
        assert [each.seat for each in batch.step() if isinstance(each, Ended)] == [newcomer]
    second = batch.join(Prompt([7, 8]), greedy([7, 8]))
    batch.step()
    third = batch.join(Prompt([9]), greedy([9]))
    with monkeypatch.context() as patch:
        patch.setattr(batch._slots, "decode", broken)
        assert [each.seat for each in batch.step() if isinstance(each, Ended)] == [first, second]
    assert ends(batch) == [(third, "None")]
    again = batch.join(Prompt([7, 8]), greedy([7, 8]))
    assert finish(batch)[again] == "".join(greedy([7, 8])(model.text))


@pytest.mark.parametrize("leaves", [False, True])
def test_what_came_before_an_interrupt_is_given_behind_it(
    model: BundleModel, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    """Unless nobody is there any more to hear of it."""
    batch = batch_of(model, 2)
    going = batch.join(Prompt([5, 6]), greedy([5, 6]))
    batch.step()
    broken = batch.join(Prompt([7]), greedy([7]))
    monkeypatch.setattr(broken, "steps", (step for step in list[str]()))  # ends with the first that it is asked for
    interrupt = Interrupt()
    interrupt.set()
    with interruptible(interrupt), pytest.raises(Interrupted):
        batch.step()
    if leaves:
        batch.leave(broken)
    assert [seat for seat, _ in ends(batch)] == ([going] if leaves else [broken, going])


@pytest.mark.parametrize("rest", range(6))
def test_a_prompts_end_takes_the_graph_that_the_prompt_takes(
    model: BundleModel, monkeypatch: pytest.MonkeyPatch, rest: int
) -> None:
    """A few tokens alone would go through the other one, whose numbers are others."""
    batch = batch_of(model, 2)
    batch.join(Prompt([5]), greedy([5]))
    batch.step()
    batch._piece.tokens = 16
    seat = batch.join(Prompt([7] * (32 + rest)), greedy([7] * (32 + rest)))
    prefill, lengths = seat.decoder.prefill, list[int]()

    def noted(keys: Sequence[Hashable], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        lengths.append(len(keys))
        return prefill(keys, embeddings)

    monkeypatch.setattr(seat.decoder, "prefill", noted)
    monkeypatch.setattr(batch._piece, "note", lambda seconds: None)
    finish(batch)
    assert sum(lengths) == 32 + rest and min(lengths) >= SHORTEST_PREFILL


def test_an_interrupted_step_is_run_again(model: BundleModel) -> None:
    batch = batch_of(model, 2)
    seats = [batch.join(Prompt(ids), greedy(ids)) for ids in ([5, 6], [7, 8])]
    for _ in range(3):
        batch.step()
    interrupt = Interrupt()
    interrupt.set()
    with interruptible(interrupt), pytest.raises(Interrupted):
        batch.step()
    finish(batch)
    for seat, ids in zip(seats, ([5, 6], [7, 8]), strict=True):
        model.text.decoder.clear()
        assert seat.answer.text == "".join(greedy(ids)(model.text))
