"""Answers for calibration, against the reference's own greedy chat."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import load_module
from export.reference.model import OmniLMM
from export.torch_device import TorchDevice
from quantize.calibration import answer_writer
from quantize.calibration.answer_writer import answer_batches, write_answers
from quantize.calibration.embedded_sequences import EmbeddedSequence

CPU = TorchDevice()


def constant(tensor: Tensor) -> Tensor:
    return tensor


@torch.inference_mode()
def test_answers_of_a_batch_are_the_references_one_by_one(tiny_checkpoint: Checkpoint) -> None:
    """Openings of different lengths, side by side; one of them is made to end early by its own second token."""
    model = load_module(tiny_checkpoint, "", lambda: OmniLMM(tiny_checkpoint.config))
    generator = torch.Generator().manual_seed(0)
    openings = [torch.randint(3, 30000, (tokens,), generator=generator).tolist() for tokens in (9, 30, 17)]
    samples = [
        EmbeddedSequence(torch.zeros(len(ids), dtype=torch.bool), partial(constant, model.embed(torch.tensor([ids]))))
        for ids in openings
    ]
    expected = [model.chat(ids, max_new_tokens=6) for ids in openings]
    steps: list[str] = []
    assert write_answers(tiny_checkpoint, samples, 6, CPU, steps.append) == expected
    assert len(steps) == 6


@torch.inference_mode()
def test_an_answer_ends_with_the_end_token(tiny_checkpoint: Checkpoint) -> None:
    model = load_module(tiny_checkpoint, "", lambda: OmniLMM(tiny_checkpoint.config))
    ids = [5, 6, 7, 8]
    sample = EmbeddedSequence(torch.zeros(4, dtype=torch.bool), partial(constant, model.embed(torch.tensor([ids]))))
    answer = model.chat(ids, max_new_tokens=8)
    end = next(token for place, token in enumerate(answer) if place >= 2)
    config = tiny_checkpoint.config
    ending = replace(tiny_checkpoint, config=replace(config, tokens=replace(config.tokens, eos=end)))
    found = write_answers(ending, [sample], 8, CPU, lambda _: None)
    assert found == [answer[: answer.index(end) + 1]]


def test_batches_fit_the_cache(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 tokens of 2 layers' keys and values in float32."""
    config = tiny_checkpoint.config.decoder
    samples = [
        EmbeddedSequence(torch.zeros(tokens, dtype=torch.bool), partial(torch.zeros, 1))
        for tokens in (10, 30, 20, 5, 6)
    ]
    one = 2 * 4 * config.num_hidden_layers * config.kv_dim * 40
    for room, sizes in ((5 * one, [5]), (5 * one - 1, [4, 1]), (2 * one, [2, 2, 1]), (1, [1] * 5)):
        monkeypatch.setattr(answer_writer, "CACHE_BYTES", room)
        assert [len(batch) for batch in answer_batches(config, samples, 10)] == sizes
    assert answer_batches(config, [], 10) == []
